"""One fetch into the store: reserve, receive, hash and write, verify, commit."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wavelet.defects import defect
from wavelet.errors import NoSpace, OurError, Stopping, WaveletError
from wavelet.sizes import size as size_of
from wavelet.store.partial_blob import PartialBlob
from wavelet.store.room import Room

_DEFECT = "a fetch failed by a defect"

PUBLIC = "public"
"""The origin of bytes that were readable anonymously, or by a site login that is for all."""

WRITE_SIZE = 1024 * 1024
"""Bytes handed to a thread at a time, to be hashed and written."""

RESERVE_STEP = 64 * 1024 * 1024
"""Bytes reserved at a time for content of unknown size."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes on their way: from `offset` on, of `size` in all where that is known; `public` as in `PUBLIC`."""

    offset: int
    size: int | None
    chunks: AsyncIterator[bytes]
    public: bool


Opener = Callable[[int], AbstractAsyncContextManager[Incoming]]
"""Opens the source at an offset. It resumes by itself: a broken connection is its affair, a raised error is final."""


class Keeper(Protocol):
    """What a fetch needs of the store that it fills. See `wavelet.store.content.ContentStore`."""

    async def commit(self, partial: PartialBlob, path: Path, origins: set[str], reserved: int) -> None:
        """Put a verified file into its place, and give back what was set aside for it."""

    def finish(self, partial: PartialBlob, origin: str) -> None:
        """Take the fetch off the list of running ones."""


class Ingest:
    """One fetch, from its first reservation to its commit."""

    def __init__(
        self,
        room: Room,
        keeper: Keeper,
        partial: PartialBlob,
        path: Path,
        fd: int,
        origin: str,
        opener: Opener,
        blame: Callable[[str], WaveletError],
    ) -> None:
        self._room, self._keeper, self._partial, self._path, self._fd = room, keeper, partial, path, fd
        self._origin, self._opener, self._blame = origin, opener, blame
        self._expected = partial.size
        self._hasher = partial.digest.hasher()
        self._written = 0
        self._reserved = 0

    async def run(self) -> None:
        """Fetch, verify and commit; every failure goes to the readers."""
        try:
            public = await self._receive()
            self._verify()
            self._partial.verify(self._written)
            origins = {PUBLIC if public else self._origin, self._origin}
            reserved, self._reserved, self._written = self._reserved, 0, 0
            await self._keeper.commit(self._partial, self._path, origins, reserved)
        except asyncio.CancelledError:
            self._partial.fail(Stopping())
            raise
        except WaveletError as error:
            self._partial.fail(error)
        except OSError as error:
            self._partial.fail(_failure(error))
        except Exception:  # noqa: BLE001 - the readers are the ones to hear of it
            self._partial.fail(defect(_DEFECT))
        finally:
            self._keeper.finish(self._partial, self._origin)
            self._room.release(self._reserved, self._written)
            self._partial.finish()
            self._path.unlink(missing_ok=True)

    async def _receive(self) -> bool:
        if self._expected is not None:
            await self._reserve(self._expected)
        async with self._opener(0) as incoming:
            if incoming.size is not None and self._expected not in (None, incoming.size):
                raise self._blame(f"{self._partial.digest} has {incoming.size} bytes there instead of {self._expected}")
            if self._partial.size is None and incoming.size is not None:
                await self._reserve(incoming.size)
                self._partial.size = incoming.size
            await self._drain(incoming.chunks)
            return incoming.public

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        waiting: list[bytes] = []
        size = 0
        writing: asyncio.Future[None] | None = None
        try:
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                # The next bytes arrive while a thread hashes and writes these; a slow source's are not held up.
                if writing is not None and (writing.done() or size >= WRITE_SIZE):
                    await writing
                    writing = None
                if writing is None:
                    writing, waiting, size = asyncio.ensure_future(self._write(waiting, size)), [], 0
        finally:
            if writing is not None:
                await writing
        if waiting:
            await self._write(waiting, size)

    async def _write(self, chunks: list[bytes], size: int) -> None:
        total = self._written + size
        limit = self._partial.size
        if limit is not None and total > limit:
            raise self._blame(f"{self._partial.digest}: more bytes than the {limit} that it has")
        if total > self._reserved:
            await self._reserve(RESERVE_STEP)
        writing = asyncio.ensure_future(asyncio.to_thread(self._hash_and_write, chunks))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})  # the file is closed next, and its number may be another file's then
            raise
        self._written = total
        self._room.arrive(size)
        self._partial.grow(total)

    def _hash_and_write(self, chunks: list[bytes]) -> None:
        position = self._written
        for chunk in chunks:
            self._hasher.update(chunk)
            view = memoryview(chunk)
            while view:
                count = os.pwrite(self._fd, view, position)
                view, position = view[count:], position + count

    async def _reserve(self, size: int) -> None:
        await self._room.reserve(size, f"{self._partial.digest} ({size_of(size)})")
        self._reserved += size

    def _verify(self) -> None:
        expected = self._expected if self._expected is not None else self._partial.size
        if expected is not None and self._written != expected:
            raise self._blame(f"{self._partial.digest} ended after {self._written} of {expected} bytes")
        if not self._partial.digest.matches(self._hasher):
            got = f"{self._partial.digest.algorithm}:{self._hasher.hexdigest()}"
            raise self._blame(f"the bytes have the digest {got} instead of {self._partial.digest}")


def _failure(error: OSError) -> WaveletError:
    """Return what readers hear of an error of the machine, in an exception's handler."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"the disk of the state directory is full ({error})")
    if error.filename is not None:
        return OurError(f"the state directory cannot be written: {error}")
    return defect(_DEFECT)
