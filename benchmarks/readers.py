"""Many clients that read one blob at the same time and drop what they read, in one thread and almost for nothing.

The kernel drops the bytes (`MSG_TRUNC`, tcp(7)): what is measured is the server, not the client.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field

from lab.processes import LabError

_PIECE = 1024 * 1024


@dataclass
class Pull:
    """One client.

    Attributes:
        first_byte: seconds from the start of all clients until it had a byte of the body, or None.
        received: bytes of the body.
        size: bytes that the body has.
    """

    connection: socket.socket
    first_byte: float | None = None
    received: int = 0
    size: int = -1
    head: bytearray = field(default_factory=bytearray)


def pull_together(authority: str, path: str, clients: int, seconds: float) -> list[Pull]:
    """Let `clients` ask for `path` at once and read it to its end.

    Raises:
        LabError: not all have all of it within `seconds`, or an answer is not 200.
    """
    host, _, port = authority.rpartition(":")
    selector = selectors.DefaultSelector()
    pulls = [Pull(socket.create_connection((host, int(port)), timeout=seconds)) for _ in range(clients)]
    started = time.monotonic()
    try:
        for pull in pulls:
            pull.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            pull.connection.setblocking(False)
            selector.register(pull.connection, selectors.EVENT_READ, pull)
        while selector.get_map():
            if time.monotonic() - started > seconds:
                raise LabError(f"{path}: {len(selector.get_map())} of {clients} pulls take more than {seconds:.0f} s")
            for key, _ in selector.select(1.0):
                if _read(key.data, started):
                    selector.unregister(key.fileobj)
    finally:
        selector.close()
        for pull in pulls:
            pull.connection.close()
    return pulls


def _read(pull: Pull, started: float) -> bool:
    """Read what is there; tell whether this was the end."""
    if pull.size < 0:
        pull.head += pull.connection.recv(4096)
        end = pull.head.find(b"\r\n\r\n")
        if end < 0:
            return False
        _take_headers(pull, end)
        count = pull.received
    else:
        count = pull.connection.recv_into(_SINK, _PIECE, socket.MSG_TRUNC)
        if count == 0:
            raise LabError(f"the connection ended after {pull.received} of {pull.size} bytes")
        pull.received += count
    if count and pull.first_byte is None:
        pull.first_byte = time.monotonic() - started
    return pull.received == pull.size


def _take_headers(pull: Pull, end: int) -> None:
    status, *lines = pull.head[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if " 200 " not in status:
        raise LabError(f"{status}: {bytes(pull.head[end:])!r}")
    pull.size = int(headers["content-length"])
    pull.received = len(pull.head) - end - 4


_SINK = bytearray(_PIECE)
