"""The unix sockets: where they are, whose they are, and what lies in their place."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from wavelet import paths
from wavelet.config import ConfigError, Settings
from wavelet.config.checks import SOCKET_PATH_LIMIT

BACKLOG = 1024
"""Connections that wait to be accepted."""

USER_MODE = 0o666
ADMIN_MODE = 0o660
PRIVATE_MODE = 0o600

_CREDENTIALS = struct.Struct("=iII")
"""`struct ucred` of unix(7): process, user, group; only the first is signed."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening unix socket and the file that it is known by; `inode` is None where that is not ours to remove."""

    socket: socket.socket
    path: Path
    inode: int | None

    def close(self) -> None:
        """Listen no more, and remove the file unless another daemon's has come in its place."""
        self.socket.close()
        if self.inode is None:
            return
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


def paths_of(settings: Settings) -> tuple[Path, Path]:
    """Return the paths of the socket for users and of that for administration."""
    user = Path(settings.grpc.socket or _directory(settings) / paths.USER_SOCKET)
    admin = Path(settings.grpc.admin_socket) if settings.grpc.admin_socket else user.with_name(paths.ADMIN_SOCKET)
    return user, admin


def is_too_long(path: Path) -> bool:
    """Tell whether no unix socket can have this path."""
    return len(os.fsencode(path)) > SOCKET_PATH_LIMIT


def _directory(settings: Settings) -> Path:
    if settings.state:
        return settings.state_directory
    if os.geteuid() == 0:
        return Path(paths.SYSTEM_DIRECTORY)
    return Path(paths.private_directory(os.geteuid(), os.environ))


def make_directory(path: Path, *, private: bool) -> None:
    """Make a directory for sockets where there is none; a `private` one is for this user alone. Blocking.

    Raises:
        ConfigError: it cannot be made, or it is somebody else's.
    """
    try:
        path.mkdir(mode=0o700 if private else 0o755, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be made") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(path, "it is no directory")
    if private:
        if found.st_uid != os.geteuid():
            raise _unusable(path, f"it belongs to uid {found.st_uid}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)


def closed_directory(path: Path) -> Path | None:
    """Return the first directory on the way to a socket that other users may not pass. Blocking."""
    return next((each for each in reversed(path.parents) if not each.stat().st_mode & stat.S_IXOTH), None)


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(f"grpc.socket: {path} cannot be used: {why}; set `grpc.socket`", field="grpc.socket")


def open_listener(path: Path, mode: int, group: str, key: str) -> Listener:
    """Listen at `path` with these permissions. What a dead daemon has left there is replaced. Blocking.

    Raises:
        ConfigError: a live process listens there, or the path or the group cannot be used; `key` is the setting.
    """
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Until owner and mode are right, nobody else may connect.
        os.fchmod(opened.fileno(), PRIVATE_MODE)
        _bind(opened, path, key)
        if group:
            os.chown(path, -1, _group_id(group))
        path.chmod(mode)
        opened.listen(BACKLOG)
        opened.setblocking(False)
        return Listener(opened, path, path.lstat().st_ino)
    except OSError as error:
        opened.close()
        raise ConfigError(f"{key}: {path} cannot be used: {error.strerror}", field=key) from None
    except ConfigError:
        opened.close()
        raise


def inherited(opened: socket.socket) -> Listener:
    """Return a socket that a service manager has opened, and removes."""
    opened.setblocking(False)
    return Listener(opened, Path(opened.getsockname()), None)


def _bind(opened: socket.socket, path: Path, key: str) -> None:
    try:
        opened.bind(str(path))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _remove_dead(path, key)
        opened.bind(str(path))


def _remove_dead(path: Path, key: str) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ConfigError(f"{key}: {path} is there and is no socket; remove it, or set `{key}`", field=key)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
            owner = f"process {peer_of(probe)[0]}"
        except BlockingIOError:
            owner = "a process that is busy"
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    message = f"{key}: {path} is in use by a running wavelet ({owner}); stop it, or set `{key}` to another path"
    raise ConfigError(message, field=key)


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return process and user at the other end, as they were when it connected or listened."""
    process, uid, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return process, uid


def _group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        message = f"grpc.admin_group: there is no group {name!r}"
        raise ConfigError(message, field="grpc.admin_group") from None
