"""A door before a server that counts the bytes of its answers."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

_PIECE = 256 * 1024


class Counting:
    """Passes TCP connections on to `target` (host and port), from a thread of its own, as a context.

    Attributes:
        authority: host and port of the door.
        answered: bytes that have come back so far.
    """

    def __init__(self, port: int) -> None:
        self.authority = f"127.0.0.1:{port}"
        self.answered = 0
        self._port = port
        self._target = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def before(self, port: int) -> Self:
        """Say where the server is."""
        self._target = port
        return self

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._pass_on, "127.0.0.1", self._port, limit=_PIECE)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target, limit=_PIECE)
        await asyncio.gather(self._copy(reader, to_server), self._copy(from_server, writer, count=True))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, count: bool = False) -> None:
        try:
            while data := await source.read(_PIECE):
                self.answered += len(data) if count else 0
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass  # either side may leave at any time; what was answered is counted
        finally:
            target.close()
