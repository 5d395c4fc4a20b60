"""The body of a request: bytes of a known number, sent piece by piece from a source that can be opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from wavelet.errors import UpstreamBroken

STALL_TIMEOUT = 30.0
"""Seconds in which the server takes no byte of a body, after which it is given up."""

WHOLE_ANSWER_TIMEOUT = 300.0
"""Seconds until an answer begins once a body is sent: a registry then compares and moves gigabytes."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request sends.

    Attributes:
        name: what it is, for messages about its source.
        size: its length in bytes.
        open: gives its bytes, from the first on, whenever it is called.
        on_bytes: told how many bytes more have been handed to the connection.
    """

    name: str
    size: int
    open: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    on_bytes: Callable[[int], None] = lambda _: None

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """Return the body that is `data`."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[AsyncIterator[bytes]]:
            yield _one(data)

        return cls(name, len(data), opened)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


class BodyPayload(aiohttp.Payload):
    """A body on its way. It is sent once: a server that broke off in the middle may have kept what it got.

    Attributes:
        failure: what its source has raised.
        begun: whether there is a connection that it is written to.
        sent: bytes that were handed to the connection.
        stalled: whether the connection was broken off here, for the server took no byte of it.
    """

    _autoclose = True

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self.body = body
        self.sent = 0
        self._size = body.size
        self._taken = 0
        self.begun = False
        self.failure: Exception | None = None
        self.stalled = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: there is no text of it."""
        raise TypeError("a body is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """See `write`. The length is always the body's own."""
        if self.begun:
            raise ConnectionResetError("a body is sent once")
        self.begun = True
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                await self._send(writer, piece)
                self.sent += len(piece)
                self.body.on_bytes(len(piece))

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what there is to send; note what the source raises."""
        try:
            async with self.body.open() as pieces:
                async for piece in pieces:
                    self._taken += len(piece)
                    if self._taken > self.body.size:
                        break
                    yield piece
            if self._taken != self.body.size:
                raise self._wrong_size()
        except Exception as error:
            self.failure = error
            raise

    async def _send(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        watch = _Watch(writer.transport if isinstance(writer, StreamWriter) else None)
        try:
            await writer.write(piece)
        finally:
            watch.end()
            self.stalled = watch.stalled

    def _wrong_size(self) -> UpstreamBroken:
        body, than = self.body, "more" if self._taken > self.body.size else "less"
        return UpstreamBroken(f"where {body.name} is copied from there is {than} of it than {body.size} bytes")


class _Watch:
    """A timer that breaks a connection off where nothing is taken of what waits to be sent."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.stalled = False
        self._transport = transport
        self._left: int | None = None
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(STALL_TIMEOUT / 2, self._look)

    def _look(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        left = self._transport.get_write_buffer_size()
        if left == self._left:
            self.stalled = True
            self._transport.abort()
            return
        self._left = left
        self._wait()

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()
