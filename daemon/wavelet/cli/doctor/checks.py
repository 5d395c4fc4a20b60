"""The checks of `wavelet doctor`: a fact is fine, worth knowing, or in the way; and the command that mends it. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from wavelet.cli.doctor.engines import Docker, Engines, Podman, Sif
from wavelet.cli.doctor.facts import AuthFile, Daemon, Disk, Jobs, Server, SharedDirectory, Socket
from wavelet.cli.doctor.interception import Interception
from wavelet.daemon_status import PacksStatus, RulesStatus

Level = Literal["ok", "warning", "problem"]

LEAST_FREE = 2 * 1000**3
"""Bytes below which hardly any image fits."""

LITTLE_FREE = 20 * 1000**3
LEAST_FILES = 10_000
CLOCK_WARNING, CLOCK_PROBLEM = 60.0, 300.0
"""Seconds: registries' tokens are valid for some minutes."""

PLAIN_BY_ITSELF = (4, 1)
"""Release of SingularityCE from which it speaks http with 127.0.0.1 by itself. Apptainer (1.6 was tried) does not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report. `remedy` is a command or an edit; empty where there is nothing to mend."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def daemon(seen: Daemon) -> Iterator[Finding]:
    """Judge whether a daemon serves this user."""
    for error in seen.errors:
        yield Finding("port", "problem", error)
    if seen.status is None:
        remedy = "systemctl start wavelet" if seen.uid == 0 else "wavelet ensure"
        where = " or ".join(seen.looked_at)
        yield Finding("daemon", "problem", f"no daemon answers at {where}", f"{remedy}    (or: wavelet serve)")
        return
    said = seen.status
    yield Finding(
        "daemon",
        "ok",
        f"wavelet {said['version']}, process {said['pid']} of uid {said['uid']}, serves http://{said['address']}",
    )
    if said["version"] != seen.version:
        yield Finding(
            "daemon",
            "warning",
            f"it is version {said['version']}, and this command {seen.version}",
            "systemctl restart wavelet" if said["uid"] == 0 else "wavelet stop && wavelet ensure",
        )


def socket(seen: Socket) -> Iterator[Finding]:
    """Judge the socket that the command and other engines use."""
    match seen.error:
        case "":
            yield Finding("socket", "ok", f"{seen.path} answers")
        case "absent":
            yield Finding(
                "socket",
                "warning",
                f"there is no socket {seen.path}; gRPC callers find no daemon",
                "start a daemon, or name its socket: export WAVELET_SOCKET=PATH",
            )
        case "refused":
            yield Finding(
                "socket",
                "warning",
                f"{seen.path} was left behind: nobody listens there",
                "start the daemon, which takes it over",
            )
        case _:
            yield Finding("socket", "problem", f"{seen.path}: {seen.error}", f"ls -l {seen.path}")


def disk(seen: Disk) -> Iterator[Finding]:
    """Judge where the content is kept."""
    elsewhere = "state: a directory on a local disk (WAVELET_STATE, --state, or --directory for `wavelet ensure`)"
    about = f"{_gb(seen.free)} of {_gb(seen.total)} are free for {seen.path} ({seen.kind})"
    if seen.shared:
        yield Finding("disk", "problem", f"{seen.path} is on a network file system ({seen.kind})", elsewhere)
    elif not seen.writable:
        yield Finding("disk", "problem", f"{seen.path} cannot be written by this user", elsewhere)
    elif seen.free < LEAST_FREE:
        yield Finding("disk", "problem", about, f"free some, or {elsewhere}")
    elif seen.files < LEAST_FILES:
        yield Finding("disk", "problem", f"only {seen.files} more files fit on the disk of {seen.path}", elsewhere)
    elif seen.in_memory:
        yield Finding("disk", "warning", f"{about}, which is memory: a twentieth of it is used", elsewhere)
    elif seen.free < LITTLE_FREE:
        yield Finding("disk", "warning", about, elsewhere)
    else:
        yield Finding("disk", "ok", about)


def docker(seen: Docker | None) -> Iterator[Finding]:
    """Judge Docker, where there is one."""
    if seen is None:
        return
    if seen.error:
        barred = "permission denied" in seen.error.lower()
        remedy = "usermod -aG docker USER, then log in anew" if barred else "systemctl start docker"
        yield Finding("docker", "warning", f"it does not answer: {seen.error}", remedy)
        return
    yield Finding("docker", "ok", f"version {seen.version} answers; it speaks http with 127.0.0.1 by itself")
    for mirror in seen.dead_mirrors:
        yield Finding(
            "docker",
            "warning",
            f"its mirror {mirror} does not answer, which delays every pull from Docker Hub",
            f"take {mirror} out of `registry-mirrors` in /etc/docker/daemon.json, then: systemctl restart docker",
        )


def podman(seen: Podman | None) -> Iterator[Finding]:
    """Judge podman, where there is one, by what registries.conf says of the daemon's address."""
    if seen is None:
        return
    for path, why in seen.unreadable:
        yield Finding("podman", "problem", f"{path} cannot be used: {why}", f"edit {path}")
    if seen.insecure:
        yield Finding("podman", "ok", f"version {seen.version}; it speaks http with {seen.authority}")
        return
    yield Finding(
        "podman",
        "warning",
        f"it speaks only https with {seen.authority}, unless each call has --tls-verify=false",
        "wavelet setup podman",
    )


def sif(seen: Sequence[Sif]) -> Iterator[Finding]:
    """Judge Apptainer and Singularity, where there are any."""
    for one in seen:
        if one.name == "singularity" and one.release >= PLAIN_BY_ITSELF:
            yield Finding(one.name, "ok", f"version {one.version}; it speaks http with 127.0.0.1 by itself")
        elif one.plain_http:
            yield Finding(one.name, "ok", f"version {one.version}; {one.variable} makes it speak http")
        elif one.insecure:
            yield Finding(one.name, "ok", f"version {one.version}; registries.conf makes it speak http with the daemon")
        else:
            message = (
                f"version {one.version} pulls `docker://` names of the daemon only if it is told to speak http; "
                "SIF files need no word (wave.endpoint with /sif)"
            )
            remedy = f"wavelet setup apptainer    (or, for Nextflow, where it pulls: export {one.variable}=true)"
            yield Finding(one.name, "warning", message, remedy)
        if one.dead_mirror:
            yield Finding(
                one.name,
                "problem",
                f"the mirror {one.dead_mirror} in registries.conf does not answer, and it tries no other",
                "start the daemon, or take the mirror out of registries.conf",
            )


def interception(seen: Sequence[Interception], authority: str) -> Iterator[Finding]:
    """Judge what comes through the daemon by plain names, engine by engine; that none does is fine."""
    for one in seen:
        setup = f"wavelet setup {one.engine}"
        if one.pending:
            yield Finding(
                one.engine, "warning", f"it is set up to ask wavelet first, and does not yet: {one.pending}", setup
            )
        for other in one.overridden:
            message = f"images of {other.images} do not come through wavelet, as was set up: {other.by} counts"
            yield Finding(one.engine, "warning", message, f"edit {other.by}    (or: {setup} --undo)")
        names = ", ".join(one.registries)
        if not one.registries:
            continue
        if one.reached:
            fall = "" if one.falls_back else ", and nowhere else: they fail while it is down"
            yield Finding(one.engine, "ok", f"it asks wavelet first for images of {names}{fall}")
            continue
        then = "asks the registries" if one.falls_back else "cannot pull them"
        level: Level = "warning" if one.falls_back else "problem"
        message = f"it is to ask {authority} first for images of {names}; nobody answers there, and it {then}"
        yield Finding(one.engine, level, message, f"start the daemon, or: {setup} --undo")


ZSTD_SINCE = (4, 14)
"""The version of Linux from which it reads squashfs images that are compressed by zstd."""


def codec(name: str, kernel: str) -> Iterator[Finding]:
    """Judge whether this machine runs SIF files that are compressed so; `kernel` is its release, e.g. `6.1.0-18`."""
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    if name == "zstd" and numbers and tuple(map(int, numbers.groups())) < ZSTD_SINCE:
        message = f"SIF files are compressed by zstd, which the kernel of this machine ({kernel}) does not read"
        yield Finding("sif codec", "problem", message, "sif.codec: gzip    (what was made before stays as it is)")


def engines(seen: Engines) -> Iterator[Finding]:
    """Judge each engine, and whether there is one at all."""
    yield from docker(seen.docker)
    yield from podman(seen.podman)
    yield from sif(seen.sif)
    if seen.docker is None and seen.podman is None and not seen.sif:
        message = "neither docker, podman, apptainer nor singularity is in PATH"
        yield Finding("engines", "warning", message, "install one, or load it: module load apptainer")


def credentials(seen: list[AuthFile]) -> Iterator[Finding]:
    """Judge the files with registry logins."""
    for file in seen:
        if file.error:
            yield Finding("credentials", "problem", f"{file.path}: {file.error}", f"edit {file.path}")
        elif file.foreign:
            yield Finding(
                "credentials", "problem", f"{file.path} is another user's and is not read", f"ls -l {file.path}"
            )
        elif file.open:
            yield Finding("credentials", "warning", f"others can read {file.path}", f"chmod 600 {file.path}")
        else:
            yield Finding("credentials", "ok", f"{file.path} has logins for {file.logins or 'no'} registries")
        for helper in file.missing_helpers:
            yield Finding(
                "credentials",
                "problem",
                f"{file.path} names docker-credential-{helper}, which is not in PATH",
                f"install docker-credential-{helper}, or take it out of {file.path}",
            )
    if not seen:
        yield Finding("credentials", "ok", "no login files; images are asked for anonymously")


def servers(seen: list[Server]) -> Iterator[Finding]:
    """Judge all that other servers' answers tell."""
    yield from upstream(seen)
    yield from clock(seen)


def upstream(seen: list[Server]) -> Iterator[Finding]:
    """Judge which registries and channels can be reached."""
    if seen and all(server.error for server in seen):
        yield Finding(
            "upstream",
            "warning",
            f"offline: none of {', '.join(server.name for server in seen)} can be reached ({seen[0].error}); "
            "what this node holds is served",
            "without a network: set mirrors (upstream.registries, conda.mirrors); with a proxy: export HTTPS_PROXY",
        )
        return
    for server in seen:
        if server.error and server.mirrored:
            message = f"{server.name} cannot be reached ({server.error}), but a mirror of it answers"
            yield Finding("upstream", "warning", message, "upstream.mirrors_only: true, so that it is not asked")
        elif server.error:
            message = f"{server.name} cannot be reached: {server.error}"
            yield Finding("upstream", "problem", message, f"curl -v {server.url}")
        else:
            yield Finding("upstream", "ok", f"{server.name} answers in {server.seconds * 1000:.0f} ms")


def clock(seen: list[Server]) -> Iterator[Finding]:
    """Judge this machine's clock by what servers say; the nearest counts, for a single one may be wrong."""
    skews = [server.skew for server in seen if server.skew is not None]
    if not skews:
        yield Finding("clock", "ok", "nobody could be asked")
        return
    skew = min(skews, key=abs)
    if abs(skew) < CLOCK_WARNING:
        yield Finding("clock", "ok", f"within {max(1, abs(skew)):.0f} s of other servers'")
        return
    level: Level = "warning" if abs(skew) < CLOCK_PROBLEM else "problem"
    way = "behind" if skew > 0 else "ahead of"
    yield Finding("clock", level, f"this machine is {abs(skew):.0f} s {way} other servers", "timedatectl set-ntp true")


def jobs(seen: Jobs) -> Iterator[Finding]:
    """Judge whether the daemon outlives the batch job it was born in."""
    linger = "loginctl enable-linger    (an administrator may have to)"
    outlive = "start it by a user manager, a prolog or systemd: see docs/hpc.md"
    if seen.daemon_job:
        yield Finding("jobs", "warning", f"the daemon was born in {seen.daemon_job} and ends with it", outlive)
    elif seen.own_job and not seen.daemon_runs and not seen.manager:
        message = f"a daemon that is started here ends with {seen.own_job}; there is no user manager to start it"
        yield Finding("jobs", "warning", message, outlive)
    elif seen.manager and not seen.lingers:
        message = "the user manager, which starts daemons that outlive a job, ends with this user's last login"
        yield Finding("jobs", "warning", message, linger)
    else:
        yield Finding("jobs", "ok", "no batch job takes the daemon along when it ends")


def shared(name: str, key: str, seen: SharedDirectory | None) -> Iterator[Finding]:
    """Judge a directory that nodes share, where there is one: `name` is that of the check, `key` of the setting."""
    if seen is None:
        return
    if seen.error:
        yield Finding(name, "problem", f"{seen.path}: {seen.error}", f"mkdir -p {seen.path}; ls -ld {seen.path}")
    elif not seen.shared:
        message = f"{seen.path} is on a local file system ({seen.kind}): other nodes do not see it"
        yield Finding(name, "warning", message, f"{key}: a directory that all nodes mount")
    else:
        yield Finding(name, "ok", f"{seen.path} ({seen.kind})")


CHECK_RULES = "wavelet rules check"


def rules(seen: RulesStatus | None, config: str = "") -> Iterator[Finding]:
    """Judge the rules of the site, where they could be looked at; `config`: the file of settings that was named."""
    if seen is None:
        return
    remedy = f"{CHECK_RULES} --config {shlex.quote(config)}" if config else CHECK_RULES
    for problem in seen["problems"]:
        yield Finding("rules", "problem", f"not in force: {problem}", remedy)
    if seen["closed"]:
        message = f"none of {seen['directory']} could ever be read, so that every request is refused"
        yield Finding("rules", "problem", message, remedy)
    elif not seen["problems"]:
        said = f"{seen['count']} of {seen['directory']}" if seen["count"] else "none"
        yield Finding("rules", "ok", f"{said} are in force{_BINDS if seen['count'] else ''}")


_BINDS = "; an engine that asks the daemon by a mirror goes on to the registry where it is refused"


def packs(seen: PacksStatus | None) -> Iterator[Finding]:
    """Judge the packs of this node, where they could be looked at."""
    if seen is None:
        return
    for problem in seen["problems"]:
        yield Finding("packs", "problem", f"not in use: {problem}", "wavelet pack check DIR")
    if not seen["problems"]:
        yield Finding("packs", "ok", f"{seen['count']} can be used")


def _gb(size: int) -> str:
    return f"{size / 1000**3:.1f} GB"
