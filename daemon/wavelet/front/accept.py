"""The acceptance of connections, also where the process has no file descriptor left.

asyncio's own servers write a line with a traceback for each connection that they cannot accept, up to a thousand in one
round of the loop, and know nothing of how many there are.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine

from wavelet.front.connections import Connections
from wavelet.host.descriptors import EXHAUSTED
from wavelet.logs import Rarely

BATCH = 64
"""Connections that are accepted in one round of the loop."""

PAUSE = 0.2
"""Seconds until it is tried again where a connection could not be accepted."""


class Acceptor:
    """One listening socket, which is this one's from now on. `take` serves what it accepts, or closes it.

    Args:
        door: what the log calls it.
    """

    def __init__(
        self,
        listening: socket.socket,
        take: Callable[[socket.socket], Coroutine[object, None, None]],
        connections: Connections,
        door: str,
    ) -> None:
        self._socket = listening
        self._take = take
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._taking: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._failed = Rarely("connections cannot be accepted", door=door)
        listening.setblocking(False)
        self._loop.add_reader(listening, self._accept)

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def close(self) -> None:
        """Accept no more, and break off what has not begun."""
        self.stop()
        for task in self._taking:
            task.cancel()
        await asyncio.gather(*self._taking, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Others are errors of the connection that was to be accepted (accept(2)), and it has gone with them.
                self._failed.warning(because=error.strerror)
                if error.errno in EXHAUSTED:
                    self._connections.make_room()
                    self._loop.remove_reader(self._socket)
                    self._pause = self._loop.call_later(PAUSE, self._go_on)
                    return
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._take(accepted))
            self._taking.add(task)
            task.add_done_callback(functools.partial(self._taken, accepted))

    def _taken(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._taking.discard(task)
        if task.cancelled():
            accepted.close()

    def _go_on(self) -> None:
        self._loop.add_reader(self._socket, self._accept)
