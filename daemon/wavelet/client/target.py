"""The target of calls: a daemon's unix socket, or an address with mutual TLS; and why nothing answers there."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc

from wavelet.client.errors import Ended, NoDaemon, WaveletRpcError, read_error
from wavelet.paths import SOCKET_VARIABLE, find_socket

RECONNECT_LIMIT = 1.0
"""The most seconds between two attempts to connect; a daemon that restarts is there again within a second."""

CONNECT_LIMIT = 20.0
"""Seconds for one attempt to connect, the daemon's first words included: a busy one is slow."""

MESSAGE_LIMIT = 64 << 20
"""The most bytes of an answer: logs, and lock files of large environments."""

KEEPALIVE = 60.0
"""Seconds of silence on a network connection after which it is asked whether it is still there."""

OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a daemon is of this node or cluster; no web proxy stands before it
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_LIMIT * 1000)),  # by its name a pause; it bounds the attempt itself
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_LIMIT * 1000)),
)
_NETWORK_OPTIONS = (*OPTIONS, ("grpc.keepalive_time_ms", int(KEEPALIVE * 1000)))

_UNIX = "unix:"
_REMEDY = (
    "start one for the node with `wavelet serve`, or one of your own with `wavelet ensure`; "
    f"{SOCKET_VARIABLE} names another socket"
)


@dataclass(frozen=True)
class Tls:
    """What mutual TLS needs, each as PEM.

    Attributes:
        ca: the certificates that the daemon's certificate has to be signed by.
        certificate: the caller's own certificate, with what leads from it to `grpc.tls.client_ca` of the daemon.
        key: its private key.
    """

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, *, ca: str | Path, certificate: str | Path, key: str | Path) -> Self:
        """Read the three from files.

        Raises:
            OSError: one of them cannot be read.
        """
        return cls(Path(ca).read_bytes(), Path(certificate).read_bytes(), Path(key).read_bytes())


class Target:
    """The place that a client calls.

    Attributes:
        address: `unix:<path>`, or `<host>:<port>`.
        credentials: for a network address; None for a socket.
    """

    def __init__(self, address: str | None, *, tls: Tls | None, admin: bool) -> None:
        self.address = address or _UNIX + find_socket(os.environ, admin=admin)
        self.credentials: grpc.ChannelCredentials | None = None
        self.options: Sequence[tuple[str, int]] = OPTIONS
        if self.address.startswith(_UNIX):
            return
        if tls is None:
            raise ValueError(f"{self.address} is called with mutual TLS only: give tls=…, or a socket as unix:PATH")
        self.credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
        self.options = _NETWORK_OPTIONS

    def error(self, ended: Ended) -> WaveletRpcError:
        """Return what a call's end means: what the daemon says, that there is none, or what gRPC says."""
        said = read_error(ended)
        if said is not None:
            return said
        code = ended.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return self._unavailable(ended.details() or "no reason given")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return WaveletRpcError(
                code,
                "the time that this call was given is over; what it started goes on if others wait for it, "
                "and asking again is right",
            )
        return WaveletRpcError(code, ended.details() or code.name)

    def _unavailable(self, details: str) -> WaveletRpcError:
        code = grpc.StatusCode.UNAVAILABLE
        if self.credentials is not None:
            return NoDaemon(
                code,
                f"no wavelet daemon answers at {self.address} ({details}); see that its `grpc.tls.listen` is this "
                "address, and that each side's certificate is signed by what the other side trusts",
            )
        path = self.address.removeprefix(_UNIX)
        try:
            connect(path)
        except PermissionError:
            return NoDaemon(code, _why_closed(path), fault="caller")
        except OSError as error:
            return NoDaemon(code, f"no wavelet daemon answers at {path} ({error.strerror or error}): {_REMEDY}")
        return WaveletRpcError(
            code, f"the wavelet daemon at {path} has closed the connection ({details}); it may be restarting: ask again"
        )


def _why_closed(path: str) -> str:
    """Say why this user may not connect to a socket: a directory on the way is closed, or the socket itself is."""
    for directory in reversed(Path(path).absolute().parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            return (
                f"{path} cannot be reached by this user: the directory {directory} is closed to others; let "
                "the daemon's setting `grpc.socket` name a path that all users may pass, e.g. /run/wavelet/wavelet.sock"
            )
    return (
        f"{path} may not be used by this user; the admin socket is for root and the group that `grpc.admin_group` names"
    )


def connect(path: str) -> None:
    """See whether somebody listens at a unix socket. Never waits.

    Raises:
        OSError: why nobody can be reached there.
    """
    # The address may be a URI: `unix:///path` has an empty authority.
    path = "/" + path.lstrip("/") if path.startswith("//") else path
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # So many may wait to be let in that there is no room for one more: then somebody is there.
        with contextlib.suppress(BlockingIOError):
            probe.connect(path)
