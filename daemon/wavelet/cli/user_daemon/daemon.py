"""The daemon of this user on this node: where it is, whether it answers, and whether it is what it says.

`wavelet ensure` goes no further where the daemon runs, so only the standard library is imported, and no `pathlib`.

Whose daemon it is, is asked of the kernel: the owner of the socket that listens on the port (`/proc/net/tcp`). The port
is what engines will call, so its owner counts; a unix socket beside it could be the right one while the port is not.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Mapping
from typing import NamedTuple

from wavelet.cli.on_demand import port_owner, tcp_table
from wavelet.daemon_status import DaemonStatus, is_daemon_status
from wavelet.errors import NotStarted
from wavelet.paths import ADMIN_SOCKET, USER_SOCKET, node_directory, private_directory, private_port

DIRECTORY_VARIABLE = "WAVELET_PRIVATE_DIRECTORY"
PORT_VARIABLE = "WAVELET_PRIVATE_PORT"

HOST = "127.0.0.1"

STATE, LOG, VARIABLES = "state", "daemon.log", "daemon.env"
"""In the daemon's directory: its state, its log, and the variables that a user manager starts it with."""

START_LOCK, FAILURE = "ensure.lock", "failure"
"""Held by whoever starts it; and why the last start has failed, for those who have waited for it."""

RUN_LOCK, RUN_MARK = "run.lock", "run.pid"
"""Held in common by all `wavelet run`; and the process id of a daemon that one of them has started, and will end."""

ANSWER_LIMIT = 10.0
"""Seconds for the answer. A daemon that starts accepts connections before it answers them."""

ANSWER_BYTES = 65_536

_PORT_REMEDY = (
    "choose another port with --port PORT, and the same one in all calls and on all nodes "
    f"(or set {PORT_VARIABLE} for all of them)"
)


class DaemonLocation(NamedTuple):
    """Where a user's own daemon is: its node-local directory, that of its sockets, its port, its owner."""

    directory: str
    sockets: str
    port: int
    uid: int

    @property
    def address(self) -> str:
        """Host and port of its HTTP API and registry."""
        return f"{HOST}:{self.port}"

    @property
    def endpoint(self) -> str:
        """The URL for `wave.endpoint`."""
        return f"http://{self.address}"

    @property
    def socket(self) -> str:
        """Its socket for users."""
        return f"{self.sockets}/{USER_SOCKET}"

    @property
    def admin_socket(self) -> str:
        """Its socket for administration."""
        return f"{self.sockets}/{ADMIN_SOCKET}"

    def inside(self, name: str) -> str:
        """Return the path of a file in the directory."""
        return f"{self.directory}/{name}"


def location_of(
    environment: Mapping[str, str], directory: str | None = None, port: int | None = None
) -> DaemonLocation:
    """Return the location that is asked for, by arguments first, then by the environment.

    Raises:
        NotStarted: the environment names a port that is none.
    """
    uid = os.getuid()
    named = directory or environment.get(DIRECTORY_VARIABLE)
    text = environment.get(PORT_VARIABLE) or str(private_port(uid))
    if port is None:
        if not (text.isdecimal() and 0 < int(text) < 65536):
            raise NotStarted(f"{PORT_VARIABLE}: {text!r} is not a port; give a number from 1024 to 65535")
        port = int(text)
    where = os.path.abspath(named) if named else node_directory(uid)  # noqa: PTH100
    return DaemonLocation(where, where if named else private_directory(uid, environment), port, uid)


def daemon_status(location: DaemonLocation) -> DaemonStatus | None:
    """Return what this user's daemon says of itself (`GET /statusz`); None: nobody listens there.

    Raises:
        NotStarted: the port is somebody else's, or what listens there is no wavelet, or it does not answer.
    """
    with socket.socket() as connection:
        connection.settimeout(ANSWER_LIMIT)
        try:
            connection.connect((HOST, location.port))
            _check_owner(location)
            said = request_status(connection)
        except (ConnectionError, FileNotFoundError):
            return None  # nobody there, or it has ended meanwhile
        except TimeoutError:
            raise NotStarted(
                f"{_owner(location.port)} has port {location.port} and gives no answer within {ANSWER_LIMIT:.0f} s; "
                "if it hangs, end it and try again"
            ) from None
    if said is None or said["uid"] != location.uid:
        raise NotStarted(f"{_owner(location.port)} has port {location.port} and is no wavelet of yours; {_PORT_REMEDY}")
    return said


def _check_owner(location: DaemonLocation) -> None:
    owners = {owner.uid for owner in tcp_table.listening(location.port)}
    if not owners:
        raise ConnectionResetError("it has stopped listening meanwhile")
    if owners != {location.uid}:
        raise NotStarted(
            f"port {location.port} of this node belongs to {_owner(location.port)}, not to you; {_PORT_REMEDY}"
        )


def _owner(port: int) -> str:
    return port_owner.describe_owner(port)


def request_status(connection: socket.socket) -> DaemonStatus | None:
    """Return the answer to `/statusz`; None: it is another program's.

    Raises:
        OSError: the connection breaks off before the answer does, or the answer takes too long.
    """
    connection.sendall(b"GET /statusz HTTP/1.0\r\n\r\n")
    answer = b""
    while len(answer) < ANSWER_BYTES and (more := connection.recv(ANSWER_BYTES)):
        answer += more
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        raise ConnectionResetError("it has ended before its answer")
    try:
        said: object = json.loads(body) if b" 200 " in head.partition(b"\r\n")[0] else None
    except ValueError:
        return None
    return said if is_daemon_status(said) else None


def make_private_directory(path: str, uid: int) -> None:
    """Make a directory for this user alone, or check that it is one: in /tmp anybody may have come first.

    Raises:
        NotStarted: it cannot be made, is somebody else's, or somebody else may write to it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103
        found, parent = os.lstat(path), os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120
    except OSError as error:
        raise NotStarted(f"{path} cannot be made: {error.strerror}; {_DIRECTORY_REMEDY}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise NotStarted(f"{path} is not a directory, so it may be somebody's trap; {_DIRECTORY_REMEDY}")
    if found.st_uid != uid:
        raise NotStarted(
            f"{path} belongs to uid {found.st_uid} and not to you (uid {uid}), who could read and change "
            f"what is in it; {_DIRECTORY_REMEDY}"
        )
    if found.st_mode & 0o022:
        raise NotStarted(f"{path} can be written by others; remove it (rm -r {path}), or {_DIRECTORY_REMEDY}")
    if parent.st_mode & 0o002 and not parent.st_mode & stat.S_ISVTX:
        raise NotStarted(f"{path} lies where anybody can rename it (no sticky bit); {_DIRECTORY_REMEDY}")
    if found.st_mode & 0o055:
        os.chmod(path, 0o700)  # noqa: PTH101


_DIRECTORY_REMEDY = f"choose another directory on a local disk with --directory DIR (or {DIRECTORY_VARIABLE})"
