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
from wavelet.upstream.file_ranges import FileRange, Piece, Stalled, Watch, send_file, sends_files

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
    open: Callable[[], AbstractAsyncContextManager[AsyncIterator[Piece]]]
    on_bytes: Callable[[int], None] = lambda _: None

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """Return the body that is `data`."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[AsyncIterator[Piece]]:
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

    async def _pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield what there is to send; note what the source raises."""
        taken = 0
        try:
            async with self.body.open() as pieces:
                async for piece in pieces:
                    taken += len(piece)
                    if taken > self.body.size:
                        break
                    yield piece
            if taken != self.body.size:
                raise self._wrong_size("more" if taken > self.body.size else "less")
        except Exception as error:
            self.failure = error
            raise

    async def _send(self, writer: AbstractStreamWriter, piece: Piece) -> None:
        if isinstance(piece, bytes):
            await self._write(writer, piece)
            return
        try:
            await self._send_file(writer, piece)
        except Stalled:
            self._note_stall()
            raise

    async def _write(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        with Watch(writer.transport if isinstance(writer, StreamWriter) else None, self._note_stall):
            await writer.write(piece)
        self._count(len(piece))

    async def _send_file(self, writer: AbstractStreamWriter, part: FileRange) -> None:
        before = self.sent
        transport = writer.transport if isinstance(writer, StreamWriter) else None
        if transport is None or not sends_files(transport):
            async with aclosing(part.read()) as pieces:
                async for piece in pieces:
                    await self._write(writer, piece)
        else:
            await self._flush(writer, transport)
            async with aclosing(send_file(transport, part)) as counts:
                async for count in counts:
                    self._count(count)
        if self.sent - before != part.size:
            self.failure = self._wrong_size("less")
            raise self.failure

    async def _flush(self, writer: AbstractStreamWriter, transport: asyncio.Transport) -> None:
        """Wait until all that was written is in the kernel."""
        writer.send_headers()
        transport.set_write_buffer_limits(high=0)
        try:
            with Watch(transport, self._note_stall):
                await writer.drain()
        finally:
            transport.set_write_buffer_limits()

    def _note_stall(self) -> None:
        self.stalled = True

    def _count(self, more: int) -> None:
        self.sent += more
        self.body.on_bytes(more)

    def _wrong_size(self, than: str) -> UpstreamBroken:
        body = self.body
        return UpstreamBroken(f"where {body.name} is copied from there is {than} of it than {body.size} bytes")
