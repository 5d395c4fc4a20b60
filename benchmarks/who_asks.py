"""What it costs to learn who asks, as the daemon does it once for each connection: the kernel's answer about a loopback
connection (sock_diag) and about one on a unix socket (SO_PEERCRED); eleven rounds of 2,000 look-ups, with 500 other
connections open. Beside sock_diag, what reading `/proc/net/tcp` takes, which stands in where a kernel has none.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from field import Field
from report import Row, bounded

from wavelet.front.grpc.sockets import peer_of
from wavelet.host.peers import Peers

ROUNDS = 11
LOOKS = 2_000
TABLE_LOOKS = 20
OTHERS = 500


class _Transport(asyncio.BaseTransport):
    """The accepted end of a connection, as asyncio tells of it."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__({"peername": accepted.getpeername(), "sockname": accepted.getsockname()})


def measure(_: Field) -> list[Row]:
    """Return microseconds for each look-up."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=OTHERS))
        for _ in range(OTHERS + 1):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            accepted = stack.enter_context(listener.accept()[0])
        transport = _Transport(accepted)
        peers = Peers()
        stack.callback(peers.close)
        without = Peers()
        without.close()
        unix = [stack.enter_context(end) for end in socket.socketpair(socket.AF_UNIX)]
        diag = [_microseconds(lambda: peers.uid_of(transport), LOOKS) for _ in range(ROUNDS)]
        table = [_microseconds(lambda: without.uid_of(transport), TABLE_LOOKS) for _ in range(ROUNDS)]
        credentials = [_microseconds(lambda: peer_of(unix[0]), LOOKS) for _ in range(ROUNDS)]
    read = f"/proc/net/tcp: {statistics.median(table):,.0f} µs"
    return [
        bounded("uid of an HTTP connection", diag, "µs", 100.0, read),
        bounded("uid of a unix socket's connection", credentials, "µs", 100.0),
    ]


def _microseconds(look: Callable[[], object], count: int) -> float:
    assert look() is not None
    started = time.perf_counter()
    for _ in range(count):
        look()
    return (time.perf_counter() - started) * 1e6 / count
