"""Docker: a mirror in daemon.json. It has mirrors for docker.io alone, and reads the file again when it is told."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.cli.doctor.facts import home_of
from wavelet.cli.setup import daemon_json, files
from wavelet.cli.setup.plan import Asked, Change, Plan
from wavelet.cli.setup.verify import Pull
from wavelet.errors import InvalidRequest, NotStarted
from wavelet.front.registry.setup_image import PATH, setup_image
from wavelet.image.reference import DOCKER_HUB

OF_NODE = True
SUMMARY = "let Docker ask the daemon first for the images of docker.io"

SYSTEM_FILE = Path("/etc/docker/daemon.json")
SYSTEM_PID = Path("/run/docker.pid")

RELOAD_LIMIT = 5.0
"""Seconds within which dockerd has read its file again."""

CALL_LIMIT = 4.0
"""Seconds for one call of the docker command."""

HUB_ALONE = (
    "Docker has mirrors for docker.io alone; for names of other registries say which they are, e.g. in "
    "Nextflow's configuration for nf-core: docker.registry = '{authority}/quay.io'"
)
DESKTOP = (
    "Docker Desktop runs its engine in a virtual machine, for which {authority} is not this machine: it does not "
    "reach the daemon by that"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: it has the arguments of all engines."""


def plan(asked: Asked) -> Plan:
    """Plan the mirror.

    Raises:
        InvalidRequest: a registry is asked for that Docker has no mirrors for.
        NotStarted: the file cannot be read or is not understood, or dockerd has its mirrors by its arguments.
    """
    if DOCKER_HUB not in asked.registries:
        raise InvalidRequest(f"--registry: {HUB_ALONE.format(authority=asked.authority)}")
    running = _running(asked)
    path = _file(asked, running)
    if running is not None and any(each.startswith("--registry-mirror") for each in running.arguments):
        raise NotStarted(
            f"dockerd (process {running.pid}) has --registry-mirror among its arguments, and starts no more with "
            f"mirrors in {path} beside them; move them there first"
        )
    before = files.read(path)
    change = Change(path, before, daemon_json.with_mirror(before, asked.authority, str(path)))
    notes = [HUB_ALONE.format(authority=asked.authority)]
    if others := daemon_json.mirrors_of(change.after or "")[1:]:
        notes.append(f"{path} has {', '.join(others)}, too: asked before docker.io where wavelet does not answer")
    if (Path(home_of(asked.environment)) / ".docker/desktop").is_dir():
        notes.append(DESKTOP.format(authority=asked.authority))
    return Plan((change,), tuple(notes), (DOCKER_HUB,))


def undo(asked: Asked) -> Plan:
    """Plan that the mirror is taken out.

    Raises:
        NotStarted: the file cannot be read.
    """
    path = _file(asked, _running(asked))
    before = files.read(path)
    after = None if before is None else daemon_json.without_mirror(before, asked.authority)
    if before == after:
        return Plan(notes=(f"nothing to remove in {path}",))
    return Plan((Change(path, before, after),))


def apply(asked: Asked, plan: Plan) -> Iterable[str]:
    """Have a dockerd that runs read its file again."""
    if not plan.changes:
        return
    running = _running(asked)
    scope = "" if asked.of_node else " --user"
    if running is None:
        yield f"Docker reads it when it starts; one that runs, by: systemctl{scope} reload docker"
        return
    try:
        os.kill(running.pid, signal.SIGHUP)
    except OSError as error:
        yield f"dockerd (process {running.pid}) was not told ({error.strerror}): systemctl{scope} reload docker"
        return
    _await_mirrors(daemon_json.mirrors_of(plan.changes[0].after or ""))
    yield f"dockerd (process {running.pid}) was told to read it (SIGHUP)"


def pulls(asked: Asked, plan: Plan) -> Sequence[Pull]:
    """Return how Docker pulls: by a name of docker.io."""
    name = f"{PATH}@{setup_image().index.descriptor.digest}"
    return (Pull(("docker", "pull", "--quiet", name), ("docker", "rmi", "--force", name), ("docker", "version")),)


@dataclass(frozen=True, slots=True)
class _Running:
    """A dockerd: its process id, and its arguments."""

    pid: int
    arguments: tuple[str, ...]

    @property
    def file(self) -> Path | None:
        """The file that its arguments name."""
        for number, each in enumerate(self.arguments):
            if each == "--config-file":
                return Path(next(iter(self.arguments[number + 1 :]), ""))
            if each.startswith("--config-file="):
                return Path(each.partition("=")[2])
        return None


def _running(asked: Asked) -> _Running | None:
    """Look for the dockerd that a file of process ids names, if it runs."""
    runtime = asked.environment.get("XDG_RUNTIME_DIR", "")
    path = asked.below_root(SYSTEM_PID) if asked.of_node else Path(runtime, "docker.pid")
    try:
        pid = int(path.read_text("utf-8"))
        process = Path(f"/proc/{pid}")
        if (process / "comm").read_text("utf-8").strip() != "dockerd":
            return None
        words = (process / "cmdline").read_text("utf-8", "replace").split("\0")
    except (OSError, ValueError):
        return None
    return _Running(pid, tuple(words[1:]))


def _file(asked: Asked, running: _Running | None) -> Path:
    if running is not None and running.file is not None:
        return running.file
    if asked.of_node:
        return asked.below_root(SYSTEM_FILE)
    config = asked.environment.get("XDG_CONFIG_HOME") or f"{home_of(asked.environment)}/.config"
    return Path(config) / "docker" / SYSTEM_FILE.name


def _await_mirrors(mirrors: Iterable[str]) -> None:
    """Return once Docker says that it has these mirrors, or does not say what it has."""
    wanted = {f"{each.rstrip('/')}/" for each in mirrors}
    until = time.monotonic() + RELOAD_LIMIT
    for has in _mirrors():
        if has is None or has == wanted or time.monotonic() > until:
            return
        time.sleep(0.05)


def _mirrors() -> Iterator[set[str] | None]:
    """Yield the mirrors that Docker has, again and again; None where it does not say."""
    command = ["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}"]
    while True:
        try:
            done = subprocess.run(command, check=False, capture_output=True, timeout=CALL_LIMIT)  # noqa: S603
            yield {str(each) for each in json.loads(done.stdout) or ()}
        except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
            yield None
