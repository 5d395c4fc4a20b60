"""The facts of container engines that `wavelet doctor` judges, and of registries.conf, which three of them read."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from wavelet.cli.doctor.facts import home_of
from wavelet.foreign_json import each as each_of

CALL_LIMIT = 4.0
"""Seconds for one program, or to connect to one mirror."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker, as far as it answers."""

    version: str = ""
    error: str = ""
    dead_mirrors: tuple[str, ...] = ()


def docker() -> Docker | None:
    """Ask Docker, where there is one."""
    if shutil.which("docker") is None:
        return None
    code, out, error = _call("docker", "info", "--format", "{{json .}}")
    try:
        said = json.loads(out) if code == 0 else {}
    except ValueError:
        said = {}
    if not said.get("ServerVersion"):
        errors = said.get("ServerErrors") or [error.strip() or "docker info fails"]
        return Docker(error=str(errors[0]).splitlines()[0])
    mirrors = (said.get("RegistryConfig") or {}).get("Mirrors") or []
    return Docker(said["ServerVersion"], dead_mirrors=tuple(each for each in mirrors if not _answers(each)))


@dataclass(frozen=True, slots=True)
class Podman:
    """podman, and what registries.conf says of the daemon's address."""

    version: str
    authority: str
    insecure: bool
    drop_in: str
    unreadable: tuple[tuple[str, str], ...] = ()


def podman(environment: Mapping[str, str], authority: str) -> Podman | None:
    """Look at podman, where there is one."""
    if shutil.which("podman") is None:
        return None
    _, out, _ = _call("podman", "--version")
    entries, unreadable = _registries(environment)
    insecure = any(entry.insecure and _covers(entry, authority) for entry in entries)
    folder = "/etc/containers/registries.conf.d" if os.geteuid() == 0 else f"{home_of(environment)}/{_USER_DROP_INS}"
    return Podman(_number(out), authority, insecure, f"{folder}/wavelet.conf", unreadable)


_USER_DROP_INS = ".config/containers/registries.conf.d"


class _Mirror(Struct):
    location: str = ""


class _Registry(Struct):
    """An entry `[[registry]]`."""

    prefix: str = ""
    location: str = ""
    insecure: bool = False
    mirror: tuple[_Mirror, ...] = ()


def _registries(environment: Mapping[str, str]) -> tuple[list[_Registry], tuple[tuple[str, str], ...]]:
    """Read registries.conf and its drop-ins (containers-registries.conf(5), containers-registries.conf.d(5))."""
    entries: list[_Registry] = []
    unreadable = []
    for path in _registry_files(environment):
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            unreadable.append((str(path), str(error)))
            continue
        listed = document.get("registry")
        entries += each_of(listed if isinstance(listed, list) else None, _Registry)
    return entries, tuple(unreadable)


def _registry_files(environment: Mapping[str, str]) -> Iterable[Path]:
    own = Path(home_of(environment)) / ".config/containers"
    named = environment.get("CONTAINERS_REGISTRIES_CONF")
    first = Path(named) if named else own / "registries.conf"
    main = first if named or first.is_file() else Path("/etc/containers/registries.conf")
    folders = (Path("/etc/containers/registries.conf.d"), own / "registries.conf.d")
    drop_ins = [each for folder in folders if folder.is_dir() for each in sorted(folder.glob("*.conf"))]
    return [each for each in (main, *drop_ins) if each.is_file()]


def _covers(entry: _Registry, authority: str) -> bool:
    prefix = entry.prefix or entry.location
    return prefix == authority or authority.startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True)
class Sif:
    """Apptainer or Singularity."""

    name: str
    version: str
    release: tuple[int, ...]
    variable: str
    plain_http: bool
    insecure: bool = False
    dead_mirror: str = ""


def sif(environment: Mapping[str, str], authority: str) -> list[Sif]:
    """Look at Apptainer and Singularity, where they are, and what registries.conf says of the daemon's address."""
    found = []
    entries, _ = _registries(environment)
    insecure = any(entry.insecure and _covers(entry, authority) for entry in entries)
    for name in ("apptainer", "singularity"):
        if shutil.which(name) is None:
            continue
        version = _number(_call(name, "--version")[1])
        release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        variable = f"{name.upper()}_NOHTTPS"
        plain = environment.get(variable, "").lower() in ("1", "true", "yes")
        found.append(Sif(name, version, release, variable, plain, insecure, _dead_mirror(environment)))
    return found


@dataclass(frozen=True, slots=True)
class Engines:
    """All engines that were found."""

    docker: Docker | None
    podman: Podman | None
    sif: tuple[Sif, ...]


def engines(environment: Mapping[str, str], authority: str) -> Engines:
    """Look at all engines."""
    return Engines(docker(), podman(environment, authority), tuple(sif(environment, authority)))


def _dead_mirror(environment: Mapping[str, str]) -> str:
    """Return the first mirror in registries.conf that does not answer: Apptainer from 1.4.2 asks no other."""
    for entry in _registries(environment)[0]:
        if entry.mirror and (location := entry.mirror[0].location) and not _answers(location):
            return location
    return ""


def _call(*command: str) -> tuple[int, str, str]:
    """Run a program; one that does not answer in time has failed."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of this list
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=CALL_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, "", str(error)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _number(text: str) -> str:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "unknown"


def _answers(location: str) -> bool:
    """Tell whether anybody listens at a mirror's URL, or host and path."""
    authority = location.partition("://")[2] or location
    host, _, port = authority.partition("/")[0].partition(":")
    default = 80 if location.startswith("http:") else 443
    try:
        socket.create_connection((host, int(port or default)), CALL_LIMIT).close()
    except (OSError, ValueError):
        return False
    return True
