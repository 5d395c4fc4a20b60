"""The facts of a machine that `wavelet doctor` judges: values, and what gathers them. Every wait is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import shutil
import socket as sockets
import stat
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from wavelet import __version__
from wavelet.cli.user_daemon.batch_system import batch_job, job_of_group
from wavelet.cli.user_daemon.daemon import DaemonLocation, daemon_status
from wavelet.cli.user_daemon.socket_status import status_at_socket
from wavelet.cli.user_daemon.start import user_manager
from wavelet.config import ConfigError, Settings, split_address
from wavelet.daemon_status import DaemonStatus, is_daemon_status
from wavelet.errors import NotStarted, WaveletError
from wavelet.host.port_owner import describe_owner
from wavelet.host.tcp_table import listening
from wavelet.paths import SOCKET_VARIABLE
from wavelet.store.filesystem import MEMORY_FILESYSTEMS, filesystem_type, refuse_network_filesystem
from wavelet.upstream.addresses import FOR_REGISTRIES
from wavelet.upstream.auth_files import AuthFileError, parse
from wavelet.upstream.transport import Request, Transport, server_of
from wavelet.upstream.trust import trusting

ANSWER_LIMIT = 4.0
"""Seconds for one server's answer."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that serves this user, if one does: what it says of itself, and where it was looked for."""

    status: DaemonStatus | None
    looked_at: tuple[str, ...]
    errors: tuple[str, ...]
    uid: int
    version: str = __version__


def daemon(location: DaemonLocation, listen: str, environment: Mapping[str, str]) -> Daemon:
    """Look for the daemon whose socket is named; where none is, for the user's own, then for the node's."""
    if named := environment.get(SOCKET_VARIABLE):
        return Daemon(status_at_socket(environment, ANSWER_LIMIT), (named,), (), location.uid)
    errors: list[str] = []
    looked = [location.address]
    found: DaemonStatus | None = None
    try:
        found = daemon_status(location)
    except NotStarted as error:
        errors.append(error.message)
    if found is None:
        looked.append(listen)
        found = _status_of(listen)
        port = int(listen.rpartition(":")[2])
        if found is None and listening(port):
            errors.append(f"port {port} is in use by {describe_owner(port)}, which is no wavelet")
    return Daemon(found, tuple(dict.fromkeys(looked)), tuple(errors), location.uid)


def _status_of(address: str) -> DaemonStatus | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        with direct().open(f"http://{address}/statusz", timeout=ANSWER_LIMIT) as answer:
            said: object = json.load(answer)
        return said if is_daemon_status(said) else None
    return None


@dataclass(frozen=True, slots=True)
class Socket:
    """The socket for gRPC; `error`: empty, `absent`, `refused`, or words."""

    path: str
    error: str


def socket(path: str) -> Socket:
    """Connect to a socket."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(ANSWER_LIMIT)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return Socket(path, "absent")
        except ConnectionRefusedError:
            return Socket(path, "refused")
        except OSError as error:
            return Socket(path, error.strerror or str(error))
    return Socket(path, "")


@dataclass(frozen=True, slots=True)
class Disk:
    """Where content is kept; bytes, and `files` that still fit."""

    path: str
    kind: str
    total: int
    free: int
    files: int
    in_memory: bool
    shared: bool
    writable: bool


def disk(path: Path) -> Disk:
    """Look at the file system of a directory, which need not exist yet."""
    there = next(each for each in (path, *path.parents) if each.exists())
    room = os.statvfs(there)
    files = room.f_favail if room.f_files else 1 << 62  # some file systems have no such limit
    kind = filesystem_type(path)
    writable = os.access(there, os.W_OK | os.X_OK)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    return Disk(str(path), kind, total, free, files, kind in MEMORY_FILESYSTEMS, _is_shared(path), writable)


def _is_shared(path: Path) -> bool:
    try:
        refuse_network_filesystem(path)
    except ConfigError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class AuthFile:
    """A file with registry logins."""

    path: str
    logins: int = 0
    error: str = ""
    foreign: bool = False
    open: bool = False
    missing_helpers: tuple[str, ...] = ()


def credentials(environment: Mapping[str, str]) -> list[AuthFile]:
    """Look at the login files of docker and podman."""
    home = home_of(environment)
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    paths = (
        environment.get("REGISTRY_AUTH_FILE") or f"{runtime}/containers/auth.json",
        f"{home}/.config/containers/auth.json",
        f"{environment.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json",
    )
    return [_auth_file(path) for path in dict.fromkeys(paths) if os.path.lexists(path)]


def _auth_file(path: str) -> AuthFile:
    try:
        status = Path(path).stat()
        if status.st_uid not in (os.getuid(), 0):
            return AuthFile(path, foreign=True)
        parsed = parse(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, AuthFileError) as error:
        return AuthFile(path, error=getattr(error, "strerror", None) or str(error))
    helpers = {each.name for each in parsed.helpers.values()} | ({parsed.store} - {""})
    missing = tuple(sorted(each for each in helpers if shutil.which(f"docker-credential-{each}") is None))
    # Root's own, in a user's place, is one that Kubernetes or an administrator has put there.
    readable = status.st_uid == os.getuid() and bool(status.st_mode & (stat.S_IRGRP | stat.S_IROTH))
    return AuthFile(path, len(parsed.logins), open=readable and bool(parsed.logins), missing_helpers=missing)


@dataclass(frozen=True, slots=True)
class Server:
    """A registry or channel; `skew`: seconds by which its clock is ahead; `mirrored`: a mirror of it answers."""

    name: str
    url: str
    seconds: float = 0.0
    error: str = ""
    skew: float | None = None
    mirrored: bool = False


def server(name: str, url: str, ca_file: str) -> Server:
    """Ask a server anything, as the daemon would ask it: each answer, refusals too, says that it can be reached."""
    started = time.monotonic()
    try:
        date = asyncio.run(_date_of(URL(url), ca_file))
    except (TimeoutError, ValueError, OSError) as error:
        words = f"no answer within {ANSWER_LIMIT:g} s" if isinstance(error, TimeoutError) else str(error)
        return Server(name, url, error=getattr(error, "strerror", None) or words)
    except WaveletError as error:
        return Server(name, url, error=error.message.removeprefix(f"cannot reach {server_of(URL(url))}: "))
    return Server(name, url, time.monotonic() - started, skew=_skew(date, time.time()))


async def _date_of(url: URL, ca_file: str) -> str | None:
    tls = trusting(ca_file) if url.scheme == "https" else True
    transport = Transport()
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            response = await transport.send(Request("doctor", "GET", url, FOR_REGISTRIES, tls=tls))
        response.close()
        return response.headers.get("Date")
    finally:
        await transport.close()


def _skew(date: str | None, now: float) -> float | None:
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Jobs:
    """Batch jobs: that of the daemon, that of this process, and whether a user manager runs and stays."""

    daemon_runs: bool
    daemon_job: str
    own_job: str
    manager: bool
    lingers: bool


def jobs(pid: int | None, environment: Mapping[str, str], uid: int) -> Jobs:
    """Look at the control group of the daemon, if it runs, and at what could start one."""
    group = ""
    if pid is not None:
        with contextlib.suppress(OSError):
            group = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")
    lingers = Path("/var/lib/systemd/linger", environment.get("USER", "") or "-").exists()
    manager = user_manager(environment, uid) is not None
    return Jobs(pid is not None, job_of_group(group), batch_job(environment), manager, lingers)


@dataclass(frozen=True, slots=True)
class SharedDirectory:
    """A directory that nodes share."""

    path: str
    kind: str
    shared: bool
    error: str


def shared(directory: str, *, writes: bool = True) -> SharedDirectory | None:
    """Look at a directory that nodes share, where there is one; `writes`: a daemon of this user writes there."""
    if not directory:
        return None
    path = Path(directory)
    error = "" if path.is_dir() else "there is no such directory"
    if not error and not os.access(path, (os.W_OK if writes else os.R_OK) | os.X_OK):
        error = f"this user cannot {'write to' if writes else 'read'} it"
    return SharedDirectory(directory, filesystem_type(path), _is_shared(path), error)


def node_address(settings: Settings) -> str:
    """Return where the node's daemon would answer."""
    host, port = split_address(settings.listen, "listen")
    return settings.listen if host not in ("0.0.0.0", "::") else f"127.0.0.1:{port}"  # noqa: S104


def home_of(environment: Mapping[str, str]) -> str:
    """Return the user's home directory."""
    return environment.get("HOME") or str(Path.home())


def direct() -> urllib.request.OpenerDirector:
    """Return what asks this machine, and no proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
