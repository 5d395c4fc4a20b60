"""The sources of blobs to be pushed: files of the store, whole or still growing, and streams that are verified."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import BinaryIO

from wavelet.errors import UpstreamBroken, WaitExpired
from wavelet.image.image import Content, Descriptor, Joined
from wavelet.image.reference import Digest, Hasher
from wavelet.plan.tokens import Identity
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import Blob, Committed, ContentStore
from wavelet.store.ingest import Opener, PartialBlob
from wavelet.upstream.file_ranges import FileRange, Piece
from wavelet.upstream.pusher import PushSource

HASHED_AT_ONCE = 1024 * 1024
"""Bytes of a stream that are handed to a thread to be hashed at a time."""

STATE_EVERY = 8 * 1024 * 1024
"""Bytes after which the state of a hash is kept, so that a reading can go on from there."""

OPENINGS = 3
"""Times that a blob is asked for that has just ended to grow; then it is in its place."""


def of_content(content: Content, resolver: Resolver, store: ContentStore, identity: Identity) -> PushSource:
    """Return a member of an image's closure, which is fetched or made if need be; what is joined, by its parts."""
    if isinstance(content.source, Joined):
        blob = resolver.joined(content, identity)
        return PushSource(content.descriptor, lambda offset: _follow_joined(blob, store, offset))
    return from_store(content.descriptor, store, lambda: resolver.open(content, identity))


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


@contextlib.asynccontextmanager
async def _follow_joined(blob: JoinedBlob, store: ContentStore, offset: int) -> AsyncIterator[AsyncIterator[Piece]]:
    """Open content that is joined of others, at an offset; each part is held while it is read.

    Raises:
        WaveletError: a part cannot be had.
    """

    async def pieces() -> AsyncGenerator[Piece, None]:
        for part in blob.between(offset, blob.size):
            async with follow(part.content.descriptor, store, part.open, part.start) as of_part:
                async for piece in of_part:
                    yield piece

    async with contextlib.aclosing(pieces()) as joined:
        yield joined


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


async def was_damaged(store: ContentStore, digest: Digest, origin: str) -> bool:
    """Compare what the store has of some origin; tell whether it was damaged, and so is not there any more.

    Large files are not read before they are sent, as whoever gets them compares them (`wavelet.store.integrity`).
    """
    if not isinstance(store.find(digest, origin), Committed):
        return False
    await store.integrity.compare(digest)
    return store.find(digest, origin) is None


def verified(descriptor: Descriptor, opener: Opener, where: str) -> PushSource:
    """Return content that `opener` streams, from `where`, with its size and digest verified on the way.

    Its last bytes are given only if all of them are what they should be, so that what is wrong is never whole. That
    holds for each reading: one from the middle on begins a little earlier, where the hash of what is before is known.
    """
    return PushSource(descriptor, _Verified(descriptor, opener, where).open_at)


class _Verified:
    """Hashes the bytes of a blob in their order. Opened again, it goes on with the hash as it was before that place."""

    def __init__(self, descriptor: Descriptor, opener: Opener, where: str) -> None:
        self._descriptor = descriptor
        self._opener = opener
        self._where = where
        self._states = {0: descriptor.digest.hasher()}

    @contextlib.asynccontextmanager
    async def open_at(self, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the content at an offset.

        Raises:
            UpstreamBroken: it has another size.
            WaveletError: it cannot be had.
        """
        start = max(position for position in self._states if position <= offset)
        async with self._opener(start) as incoming:
            if incoming.size not in (None, self._descriptor.size):
                raise self._broken(f"has {incoming.size} bytes there instead of {self._descriptor.size}")
            async with contextlib.aclosing(self._checked(incoming.chunks, start, offset - start)) as pieces:
                yield pieces

    async def _checked(self, chunks: AsyncIterator[bytes], start: int, skip: int) -> AsyncGenerator[bytes, None]:
        """Yield pieces, without the first `skip` bytes; each is hashed by a thread while it is sent."""
        size, position = self._descriptor.size, start
        hashing: asyncio.Future[None] | None = None
        hasher = self._states[start].copy()
        try:
            async for piece in _pieces(chunks):
                if hashing is not None:
                    await hashing
                if position + len(piece) > size:
                    raise self._broken(f"has more than the {size} bytes that it should have")
                hashing = asyncio.ensure_future(asyncio.to_thread(self._hash, hasher, piece, position))
                position += len(piece)
                if position == size:
                    await hashing
                    self._compare(hasher)
                if skip < len(piece):
                    yield piece[skip:] if skip else piece
                skip = max(0, skip - len(piece))
        finally:
            if hashing is not None:
                await asyncio.wait({hashing})
        if position < size:
            raise self._broken(f"ended after {position} of {size} bytes")
        if not size:
            self._compare(hasher)

    def _hash(self, hasher: Hasher, piece: bytes, position: int) -> None:
        view = memoryview(piece)
        while view:
            part = view[: STATE_EVERY - position % STATE_EVERY]
            hasher.update(part)
            position, view = position + len(part), view[len(part) :]
            if position % STATE_EVERY == 0:
                self._states[position] = hasher.copy()

    def _compare(self, hasher: Hasher) -> None:
        if not self._descriptor.digest.matches(hasher):
            raise self._broken(f"has the digest {self._descriptor.digest.algorithm}:{hasher.hexdigest()} there")

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
