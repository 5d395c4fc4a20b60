"""The sources of blobs to be pushed: files of the store, whole or still growing, and streams that are verified."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import BinaryIO

from wavelet.errors import UpstreamBroken, WaitExpired
from wavelet.image.image import Descriptor
from wavelet.store.content import Blob, Committed, ContentStore
from wavelet.store.ingest import Opener, PartialBlob
from wavelet.upstream.file_ranges import FileRange, Piece
from wavelet.upstream.pusher import PushSource

HASHED_AT_ONCE = 512 * 1024
"""Bytes of a stream that are handed to a thread to be hashed at a time."""

OPENINGS = 3
"""Times that a blob is asked for that has just ended to grow; then it is in its place."""


def from_store(descriptor: Descriptor, store: ContentStore, find: Callable[[], Awaitable[Blob]]) -> PushSource:
    """Return content that `find` gives, to be read as `follow` does."""
    return PushSource(descriptor, lambda offset: follow(descriptor, store, find, offset))


@contextlib.asynccontextmanager
async def follow(
    descriptor: Descriptor, store: ContentStore, find: Callable[[], Awaitable[Blob]], offset: int
) -> AsyncIterator[AsyncIterator[Piece]]:
    """Open content that `find` gives, at an offset; it is held in the store meanwhile, and followed while it grows.

    Raises:
        WaveletError: it cannot be had.
    """
    with store.retention.holding([descriptor.digest]):
        blob, file = await _open(find)
        with file:
            pieces = _growing(file, blob, offset) if isinstance(blob, PartialBlob) else _whole(file, offset, blob.size)
            async with contextlib.aclosing(pieces):
                yield pieces


async def _open(find: Callable[[], Awaitable[Blob]]) -> tuple[Blob, BinaryIO]:
    """Open what `find` gives; nothing is awaited in between, so that eviction cannot come in between."""
    attempt = 1
    while True:
        blob = await find()
        try:
            return blob, blob.path.open("rb", buffering=0) if isinstance(blob, Committed) else blob.open()
        except WaitExpired:  # it has just ended to grow, and is in its place
            if attempt == OPENINGS:
                raise
        attempt += 1


async def _whole(file: BinaryIO, offset: int, size: int) -> AsyncGenerator[Piece, None]:
    if offset < size:
        yield FileRange(file.fileno(), offset, size - offset)


async def _growing(file: BinaryIO, blob: PartialBlob, offset: int) -> AsyncGenerator[Piece, None]:
    while not (blob.verified and offset >= blob.readable):
        readable = await blob.wait_for_offset(offset)
        if offset < readable:
            yield FileRange(file.fileno(), offset, readable - offset)
            offset = readable


def verified(descriptor: Descriptor, opener: Opener, where: str) -> PushSource:
    """Return content that `opener` streams, from `where`, with its size and digest verified on the way.

    Its last bytes are given only if all of them are what they should be, so that what is wrong is never whole. Of what
    is read twice, since the target has lost it, the first reading is compared; the target compares what it got.
    """
    return PushSource(descriptor, _Verified(descriptor, opener, where).open_at)


class _Verified:
    """Hashes the bytes of a blob in their order, each once, however often it is opened again."""

    def __init__(self, descriptor: Descriptor, opener: Opener, where: str) -> None:
        self._descriptor = descriptor
        self._opener = opener
        self._where = where
        self._hasher = descriptor.digest.hasher()
        self._hashed = 0

    @contextlib.asynccontextmanager
    async def open_at(self, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the content at an offset.

        Raises:
            UpstreamBroken: it has another size.
            WaveletError: it cannot be had.
        """
        async with self._opener(offset) as incoming:
            if incoming.size not in (None, self._descriptor.size):
                raise self._broken(f"has {incoming.size} bytes there instead of {self._descriptor.size}")
            async with contextlib.aclosing(self._checked(incoming.chunks, offset)) as pieces:
                yield pieces

    async def _checked(self, chunks: AsyncIterator[bytes], position: int) -> AsyncGenerator[bytes, None]:
        """Yield pieces; each is hashed by a thread while it is sent and the next one comes."""
        size = self._descriptor.size
        hashing: asyncio.Future[None] | None = None
        try:
            async for piece in _pieces(chunks):
                if hashing is not None:
                    await hashing
                if position + len(piece) > size:
                    raise self._broken(f"has more than the {size} bytes that it should have")
                hashing = asyncio.ensure_future(asyncio.to_thread(self._hash, piece, position))
                position += len(piece)
                if position == size:
                    await hashing
                    self._compare()
                yield piece
        finally:
            if hashing is not None:
                await asyncio.wait({hashing})  # the next opening goes on with the same hash
        if position < size:
            raise self._broken(f"ended after {position} of {size} bytes")
        if not size:
            self._compare()

    def _hash(self, piece: bytes, position: int) -> None:
        # Where it was begun behind the bytes that are hashed, the registry alone can tell: it has the ones before.
        known = self._hashed - position
        if 0 <= known < len(piece):
            self._hasher.update(memoryview(piece)[known:])
            self._hashed = position + len(piece)

    def _compare(self) -> None:
        if self._hashed == self._descriptor.size and not self._descriptor.digest.matches(self._hasher):
            raise self._broken(f"has the digest {self._descriptor.digest.algorithm}:{self._hasher.hexdigest()} there")

    def _broken(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(f"{self._where}: {self._descriptor.digest} {what}")


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small chunks."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= HASHED_AT_ONCE:
            yield b"".join(waiting) if len(waiting) > 1 else chunk
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
