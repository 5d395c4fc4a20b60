"""The paths and ports at which a daemon meets those who call it: for the daemon, the command and the client.

The room imports the standard library only, and little of that: commands that have to be quick import it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

SYSTEM_DIRECTORY = "/run/wavelet"
"""Where the sockets of the node's daemon are."""

USER_SOCKET = "wavelet.sock"
ADMIN_SOCKET = "admin.sock"

SOCKET_VARIABLE = "WAVELET_SOCKET"
"""The socket that the command and the client use, instead of looking for one."""

PORT = 9090
"""The port of the node's daemon."""

PRIVATE_PORTS = range(21_000, 31_000)
"""Ports of daemons that belong to one user each; below what Linux gives to outgoing connections (32768 and up)."""


def private_port(uid: int) -> int:
    """Return the port of a user's private daemon: the same on all nodes."""
    return PRIVATE_PORTS[uid % len(PRIVATE_PORTS)]


def node_directory(uid: int) -> str:
    """Return where a user's private daemon keeps what it has on this node, whatever the environment of who asks."""
    return f"/tmp/wavelet-{uid}"  # noqa: S108


def private_directory(uid: int, environment: Mapping[str, str]) -> str:
    """Return where the sockets of a user's own daemon are: node-local, and never a home directory.

    It is the caller's to make sure that the directory is the user's and nobody else can write to it.
    """
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    # A job takes the variable along from the node where it was sent off, and the directory stays there.
    there = os.path.isabs(runtime) and os.path.isdir(runtime)  # noqa: PTH112, PTH117
    return os.path.join(runtime, "wavelet") if there else node_directory(uid)  # noqa: PTH118


def find_socket(environment: Mapping[str, str], *, admin: bool = False) -> str:
    """Return the path of the socket to call: the one that is named, the user's own daemon's, or the node's.

    It may not be there: then no daemon runs where one is looked for.
    """
    named = environment.get(SOCKET_VARIABLE)
    name = ADMIN_SOCKET if admin else USER_SOCKET
    if named:
        directory, last = os.path.split(named)
        return os.path.join(directory, name) if last == USER_SOCKET else named  # noqa: PTH118
    uid = os.getuid()
    own = os.path.join(private_directory(uid, environment), name)  # noqa: PTH118
    try:
        if os.lstat(own).st_uid == uid:
            return own
    except OSError:
        pass
    return os.path.join(SYSTEM_DIRECTORY, name)  # noqa: PTH118
