"""containerd, and what reads the same directory: nerdctl, ctr, and Kubernetes. A hosts.toml for each registry.

containerd reads these files anew for each pull. Where it looks for them stands in its own configuration, which is never
changed here, as a change counts only after containerd is started anew: what to add is said.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from wavelet.cli.doctor.facts import home_of
from wavelet.cli.setup import containerd_config, files, hosts_toml
from wavelet.cli.setup.plan import Asked, Change, Plan
from wavelet.cli.setup.verify import Pull, test_image
from wavelet.errors import NotStarted

OF_NODE = True
SUMMARY = "let containerd, nerdctl and Kubernetes' nodes ask the daemon first for the images of registries"

CONFIG = Path("/etc/containerd/config.toml")
USUAL = Path("/etc/containerd/certs.d")
DEFAULT = "_default"
"""The directory for registries that have none of their own."""

CALL_LIMIT = 4.0
"""Seconds for containerd's version."""

_NAMESPACE = "wavelet-setup"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: it has the arguments of all engines."""


def plan(asked: Asked) -> Plan:
    """Plan a hosts.toml for each registry that nobody else has settled in a way that would be lost.

    Raises:
        NotStarted: a file cannot be read, or is not understood.
    """
    base = directory(asked)
    changes: list[Change] = []
    notes: list[str] = []
    intercepted: list[str] = []
    for host in asked.registries:
        if others := _settled_by_others(base, host):
            notes.append(f"{others}: {host} is left as it is")
            continue
        path = _folder(base, host) / "hosts.toml"
        before = files.read(path)
        url = f"http://{asked.authority}"
        if before is not None and url in hosts_toml.hosts_of(hosts_toml.without_daemon(before) or ""):
            notes.append(f"{path} has {url} already")
        else:
            changes.append(Change(path, before, hosts_toml.with_daemon(before, asked.authority, str(path))))
        intercepted.append("docker.io" if host == DEFAULT else host)
    changes += _taken_back(base, {_folder(base, host) for host in asked.registries})
    return Plan(tuple(changes), (*notes, *about_config(asked)), tuple(intercepted))


def undo(asked: Asked) -> Plan:
    """Plan that the daemon is taken out of each hosts.toml, and that what was written here alone goes.

    Raises:
        NotStarted: a file cannot be read.
    """
    base = directory(asked)
    changes = tuple(_taken_back(base, frozenset()))
    return Plan(changes, () if changes else (f"nothing to remove in {base}",))


def _taken_back(base: Path, kept: Collection[Path]) -> Iterator[Change]:
    """Yield that the daemon is taken out of the files below all directories but those that are kept."""
    for path in sorted(base.glob("*/hosts.toml")):
        text = None if path.parent in kept else files.read(path)
        if text is not None and hosts_toml.is_set_up(text):
            yield Change(path, text, hosts_toml.without_daemon(text))


def apply(asked: Asked, plan: Plan) -> Iterable[str]:
    """Remove directories that are empty now: while one is there, containerd does not look into `_default`."""
    for change in plan.changes:
        if change.after is None:
            try:
                change.path.parent.rmdir()
            except OSError:  # somebody has put something else there, and wants it
                yield f"{change.path.parent} is not empty, and stays"


def pulls(asked: Asked, plan: Plan) -> Sequence[Pull]:
    """Return how the image is pulled: by the CRI, which goes by containerd's configuration, else by the directory."""
    if not plan.intercepted:
        return ()
    name, base = test_image(plan.intercepted[0]), str(directory(asked))
    ctr = ("ctr", "--namespace", _NAMESPACE, "images")
    by_directory = (
        Pull((*ctr, "pull", "--hosts-dir", base, name), (*ctr, "remove", "--sync", name), ("ctr", "version")),
        Pull(("nerdctl", "--hosts-dir", base, "pull", name), ("nerdctl", "rmi", name), ("nerdctl", "version")),
    )
    if not asked.of_node:
        return by_directory
    return (Pull(("crictl", "pull", name), ("crictl", "rmi", name), ("crictl", "version")), *by_directory)


def directory(asked: Asked) -> Path:
    """Return where the hosts.toml files lie: where the node's containerd looks first, or rootless nerdctl.

    Raises:
        NotStarted: containerd's configuration cannot be read.
    """
    if not asked.of_node:
        named = asked.environment.get("XDG_CONFIG_HOME") or f"{home_of(asked.environment)}/.config"
        return Path(named) / "containerd" / USUAL.name
    said = _config(asked).directories
    if not said or not said[0].startswith("/"):
        return asked.below_root(USUAL)
    found = asked.below_root(Path(said[0]))
    if not asked.is_this_machine and not found.parent.is_dir():
        raise NotStarted(f"{found.parent} is not there, and containerd's config_path is {said[0]}: mount it there")
    return found


def _config(asked: Asked) -> containerd_config.Registries:
    path = asked.below_root(CONFIG)
    try:
        return containerd_config.read(files.read(path), str(USUAL))
    except tomllib.TOMLDecodeError as error:
        raise NotStarted(f"{path} is no TOML, and containerd does not start with it: {error}") from None


def about_config(asked: Asked) -> Iterator[str]:
    """Say what containerd's configuration lacks for Kubernetes; ctr and nerdctl do without."""
    if not asked.of_node:
        return
    path, said = asked.below_root(CONFIG), _config(asked)
    if said.outdated:
        yield (
            f"{path} sets registries by {' and '.join(said.outdated)}, beside which containerd takes no config_path: "
            f"move them to hosts.toml files, then put in their place:\n{said.addition}"
        )
    elif not said.directories and (release := _release()) < containerd_config.BY_ITSELF:
        seen = f"containerd {'.'.join(map(str, release))}" if release else "containerd before 2.2"
        yield (
            f"{path} does not say where these files lie, without which {seen} reads them for ctr and nerdctl alone, "
            f"not for Kubernetes; add, and then `systemctl restart containerd`:\n{said.addition}"
        )


def _release() -> tuple[int, ...]:
    """Return the release of the containerd in PATH; empty where there is none."""
    program = shutil.which("containerd")
    if program is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603 - a program of this machine's
            [program, "--version"], check=False, capture_output=True, text=True, timeout=CALL_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv?(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()


def _folder(base: Path, host: str) -> Path:
    """Return a registry's directory; one with a port has two names, of which containerd looks for this first."""
    name, colon, port = host.partition(":")
    if colon and not (base / host).is_dir():
        return base / f"{name}_{port}_"
    return base / host


def _settled_by_others(base: Path, host: str) -> str:
    """Return why a hosts.toml for a registry would hide what somebody has set for it, or nothing."""
    folder = _folder(base, host)
    if folder.is_dir() and not (folder / "hosts.toml").exists():
        there = [path.name for path in folder.iterdir() if path.suffix in (".crt", ".cert", ".key")]
        return f"{folder} has {there[0]}, which containerd reads only beside no hosts.toml" if there else ""
    default = base / DEFAULT / "hosts.toml"
    if host == DEFAULT or folder.is_dir():
        return ""
    rest = hosts_toml.without_daemon(files.read(default) or "")
    return f"{default} is for every registry without a directory of its own" if rest else ""
