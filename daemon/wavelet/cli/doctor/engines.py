"""The facts of container engines that `wavelet doctor` judges."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from wavelet.cli.doctor import registries_conf

CALL_LIMIT = 4.0
"""Seconds for one program, or to connect to one mirror."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker, as far as it answers."""

    version: str = ""
    error: str = ""
    dead_mirrors: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()


def docker(authority: str = "") -> Docker | None:
    """Ask Docker, where there is one. That the daemon at `authority` does not answer is said elsewhere."""
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
    others = (each for each in mirrors if each.rstrip("/") != f"http://{authority}")
    return Docker(said["ServerVersion"], "", tuple(each for each in others if not answers(each)), tuple(mirrors))


@dataclass(frozen=True, slots=True)
class Podman:
    """podman, and what registries.conf says of the daemon's address."""

    version: str
    authority: str
    insecure: bool
    unreadable: tuple[tuple[str, str], ...] = ()


def podman(environment: Mapping[str, str], authority: str) -> Podman | None:
    """Look at podman, where there is one."""
    if shutil.which("podman") is None:
        return None
    _, out, _ = _call("podman", "--version")
    seen = registries_conf.of_user(environment)
    return Podman(_number(out), authority, seen.speaks_http(authority), seen.unreadable)


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
    insecure = registries_conf.of_user(environment).speaks_http(authority)
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
    return Engines(docker(authority), podman(environment, authority), tuple(sif(environment, authority)))


def _dead_mirror(environment: Mapping[str, str]) -> str:
    """Return the first mirror in registries.conf that does not answer: Apptainer from 1.4.2 asks no other."""
    for entry in registries_conf.of_user(environment).entries:
        mirrors = entry.registry.mirror
        if mirrors and (location := mirrors[0].location) and not answers(location):
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


def answers(location: str) -> bool:
    """Tell whether anybody listens at a mirror's URL, or host and path."""
    authority = location.partition("://")[2] or location
    host, _, port = authority.partition("/")[0].partition(":")
    default = 80 if location.startswith("http:") else 443
    try:
        socket.create_connection((host, int(port or default)), CALL_LIMIT).close()
    except (OSError, ValueError):
        return False
    return True
