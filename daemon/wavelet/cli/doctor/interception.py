"""The facts of interception that `wavelet doctor` judges: whose plain names each engine asks this daemon for first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.cli.doctor import registries_conf
from wavelet.cli.doctor.engines import Docker, answers
from wavelet.cli.setup import containerd, daemon_json, docker, files, hosts_toml, registries_drop_ins
from wavelet.cli.setup.plan import Asked
from wavelet.errors import NotStarted
from wavelet.image.reference import DOCKER_HUB


@dataclass(frozen=True, slots=True)
class Overridden:
    """Images that wavelet is set up for and is not asked for, and the file that sees to that."""

    images: str
    by: str


@dataclass(frozen=True, slots=True)
class Interception:
    """One engine's.

    Attributes:
        engine: its name.
        registries: those that it asks the daemon for first.
        overridden: those that it was set up for, where something else counts.
        pending: what is left to do before the files count, or nothing.
        reached: whether anybody listens at the daemon's address.
        falls_back: whether it asks the registry where the daemon does not answer.
    """

    engine: str
    registries: tuple[str, ...] = ()
    overridden: tuple[Overridden, ...] = ()
    pending: str = ""
    reached: bool = True
    falls_back: bool = True


def interception(environment: Mapping[str, str], authority: str, seen: Docker | None) -> list[Interception]:
    """Look at each engine that is there. Blocking.

    Args:
        environment: the variables of who asks.
        authority: the daemon, as in image names.
        seen: what Docker says of itself.
    """
    reached = answers(f"http://{authority}")
    asked = Asked(authority, (), of_node=True, root=Path("/"), environment=environment)
    found = []
    if seen is not None and not seen.error:
        found.append(of_docker(asked, seen, reached=reached))
    if shutil.which("podman") or shutil.which("skopeo"):
        found.append(of_registries_conf("podman", asked, reached=reached))
    if shutil.which("apptainer"):
        found.append(of_registries_conf("apptainer", asked, reached=reached))
    if shutil.which("containerd"):
        found.append(of_containerd(asked, reached=reached))
    return found


def of_registries_conf(engine: str, asked: Asked, *, reached: bool) -> Interception:
    """Look at what counts for a user of what `wavelet setup podman` has written, for him or for the node."""
    seen = registries_conf.of_user(asked.environment, asked.root)
    folders = (*registries_conf.user_drop_ins(asked.environment), asked.below_root(registries_conf.SYSTEM_DROP_INS))
    written = [folder / registries_drop_ins.MIRRORS for folder in folders]
    intercepted: list[str] = []
    overridden: list[Overridden] = []
    for path in (each for each in written if registries_drop_ins.is_ours(each)):
        for entry in registries_conf.of_file(path):
            host = entry.registry.prefix
            counts = seen.of(host)
            if counts is None:
                overridden.append(Overridden(host, _own_file(asked)))
            elif counts.registry.mirror[:1] != entry.registry.mirror[:1]:
                if registries_drop_ins.is_ours(counts.file):
                    continue  # the user's own set-up in place of the node's: it is judged by itself
                overridden.append(Overridden(host, str(counts.file)))
            elif entry.registry.mirror and entry.registry.mirror[0].location.startswith(f"{asked.authority}/"):
                intercepted.append(host)
    overridden += _parts_of(seen, intercepted)
    registries = tuple(dict.fromkeys(intercepted))
    fall = engine != "apptainer"
    return Interception(engine, registries, tuple(dict.fromkeys(overridden)), reached=reached, falls_back=fall)


def of_docker(asked: Asked, seen: Docker, *, reached: bool) -> Interception:
    """Look at the mirrors that Docker has now, and at those of its file."""
    mirrors = [each.rstrip("/") for each in seen.mirrors]
    url = f"http://{asked.authority}"
    if mirrors[:1] == [url]:
        return Interception("docker", (DOCKER_HUB,), reached=reached)
    if url in mirrors:
        return Interception("docker", overridden=(Overridden(DOCKER_HUB, f"the mirror {mirrors[0]} before it"),))
    try:
        text = files.read(asked.below_root(docker.SYSTEM_FILE)) or ""
    except NotStarted:
        return Interception("docker")
    pending = "systemctl reload docker" if url in daemon_json.mirrors_of(text) else ""
    return Interception("docker", pending=pending, reached=reached)


def of_containerd(asked: Asked, *, reached: bool) -> Interception:
    """Look at the hosts.toml files, and at whether containerd's configuration says where they are."""
    url = f"http://{asked.authority}"
    intercepted, overridden = [], []
    try:
        for path in sorted(containerd.directory(asked).glob("*/hosts.toml")):
            hosts = hosts_toml.hosts_of(files.read(path) or "")
            if hosts[:1] == [url]:
                intercepted.append(path.parent.name)
            elif url in hosts:
                overridden.append(Overridden(path.parent.name, f"{path}, which has {hosts[0]} before it"))
        lacking = next(containerd.about_config(asked), "")
    except NotStarted as error:
        return Interception("containerd", pending=error.message)
    pending = lacking.partition(":\n")[0] if intercepted or overridden else ""
    return Interception("containerd", tuple(intercepted), tuple(overridden), pending, reached)


def _parts_of(seen: registries_conf.Registries, hosts: Sequence[str]) -> Iterator[Overridden]:
    """Yield what others have set for some of a registry's images."""
    for entry in seen.entries:
        prefix = entry.registry.prefix or entry.registry.location
        if any(prefix.startswith(f"{host}/") for host in hosts):
            yield Overridden(prefix, str(entry.file))


def _own_file(asked: Asked) -> str:
    """Return the user's main file, beside which older releases read no drop-ins of the node."""
    folders = registries_conf.user_folders(asked.environment)
    own = [folder / registries_conf.SYSTEM_FILE.name for folder in folders]
    return str(next((each for each in own if each.is_file()), own[0]))
