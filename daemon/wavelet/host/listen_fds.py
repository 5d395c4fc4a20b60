"""Sockets that the service manager has opened and handed over (sd_listen_fds(3)), by their names in its units."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

import structlog

from wavelet.config import ConfigError

log = structlog.get_logger()

FIRST = 3
"""SD_LISTEN_FDS_START: the descriptor of the first socket."""


@dataclass(frozen=True, slots=True)
class Handed:
    """Listening sockets, non-blocking; the fields are their names (`FileDescriptorName=`). None: none was handed over.

    Attributes:
        http: of the HTTP API and registry, TCP.
        grpc: of gRPC for all users, a unix socket.
        admin: of gRPC for administration, a unix socket.
    """

    http: socket.socket | None = None
    grpc: socket.socket | None = None
    admin: socket.socket | None = None


def handed_over(environment: Mapping[str, str]) -> Handed:
    """Take the sockets that `environment` tells of, if it is meant for this process.

    Raises:
        ConfigError: one does not listen, or is not of the kind that its name says.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return Handed()
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for number in range(int(environment.get("LISTEN_FDS", "0"))):
        name = names[number] if number < len(names) else ""
        handed = socket.socket(fileno=FIRST + number)
        handed.set_inheritable(False)
        if name in found or name not in _FAMILIES:
            log.warning("a socket was handed over that nothing is known to do with", name=name)
            handed.close()
            continue
        _check(handed, name)
        handed.setblocking(False)
        found[name] = handed
    return Handed(**found)


_FAMILIES = {
    each.name: (socket.AF_UNIX,) if each.name != "http" else (socket.AF_INET, socket.AF_INET6)
    for each in fields(Handed)
}


def _check(handed: socket.socket, name: str) -> None:
    is_stream = handed.type == socket.SOCK_STREAM and handed.family in _FAMILIES[name]
    if not is_stream or not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        kind = "TCP socket" if name == "http" else "unix socket"
        raise ConfigError(
            f"the socket that the service manager hands over as {name} is not a listening {kind}; compare its unit with"
            " the one that comes with wavelet"
        )
