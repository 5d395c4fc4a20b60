"""A relay of TCP connections that stands still once so many bytes have gone through it, until it is let go on."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType

from lab.ports import free_port

_CHUNK = 64 * 1024


class Relay:
    """Relays to a port of 127.0.0.1. `stalled` is set when `limit` bytes have come from the clients."""

    def __init__(self, port: int, limit: int) -> None:
        self.stalled = threading.Event()
        self._left = limit
        self._go_on = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
                    relay._open.add(server)
                    back = threading.Thread(target=_copy, args=(server, self.request))
                    back.start()
                    _copy(self.request, server, relay._count)
                    back.join()
                    relay._open.discard(server)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", free_port()), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Relay:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take no more connections, and end those that there are."""
        self.go_on()
        self._server.shutdown()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def go_on(self) -> None:
        """Relay everything from now on."""
        self._go_on.set()

    def _count(self, size: int) -> None:
        with self._lock:
            self._left -= size
        if self._left <= 0 and not self._go_on.is_set():
            self.stalled.set()
            self._go_on.wait()


def _copy(source: socket.socket, target: socket.socket, count: Callable[[int], None] = lambda _: None) -> None:
    """Copy what comes until it ends, and tell `count` of it before it goes on; then nothing goes either way."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            count(len(data))
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
