"""The ingest of a blob: received, hashed, verified and committed, while any number of readers follow its file."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from wavelet.defects import defect
from wavelet.errors import NoSpace, OurError, Stopping, WaitExpired, WaveletError, fresh_copy
from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of
from wavelet.store.draining import drain, hash_and_write
from wavelet.store.room import Room

HOLD_BACK = 64 * 1024
"""Bytes at the end that readers get only once the digest is verified: one that has all bytes would see a clean end."""


class PartialBlob:
    """A file that is being written and how far readers may follow it.

    Attributes:
        digest: what the whole has to be.
        size: bytes of the whole, or None while nobody knows.
        readable: how many bytes readers may have now.
        received: how many bytes have come and are in the file.
    """

    def __init__(self, digest: Digest, size: int | None, fd: int) -> None:
        self.digest = digest
        self.size = size
        self.readable = self.received = 0
        self._fd = fd
        self._grown = asyncio.Event()
        self._failure: WaveletError | None = None
        self._verified = False
        self._finished = asyncio.Event()

    @property
    def verified(self) -> bool:
        """True once all bytes are there and have the digest."""
        return self._verified

    @property
    def failed(self) -> bool:
        """True once it is known that the whole will not come."""
        return self._failure is not None

    def open(self) -> BinaryIO:
        """Return the file for reading, at its own position; it stays readable when the writer has ended.

        Raises:
            WaveletError: the fetch has failed.
            WaitExpired: the fetch has ended, and its blob is in the store; whoever asks there gets it.
        """
        self._raise_failure()
        # Once the writer's descriptor is closed its number may be that of any other file.
        if self._finished.is_set():
            raise WaitExpired(f"{self.digest} has just come; ask again", retry_after=0.0)
        return Path(f"/proc/self/fd/{self._fd}").open("rb", buffering=0)

    async def wait_for_offset(self, offset: int) -> int:
        """Wait until there is more to read than `offset` bytes, or the whole is verified; return `readable`.

        Raises:
            WaveletError: the fetch has failed; what was read so far is void.
        """
        while self.readable <= offset and not self._verified:
            self._raise_failure()
            await self._grown.wait()
        return self.readable

    async def wait_committed(self) -> None:
        """Wait until the blob is in its place.

        Raises:
            WaveletError: the fetch has failed, or the whole could not be put there.
        """
        await self._finished.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise fresh_copy(self._failure)  # each reader adds its own steps to what it raises

    def grow(self, written: int) -> None:
        """Tell readers that `written` bytes are in the file."""
        self.received = written
        self.readable = max(0, (written if self.size is None else min(written + HOLD_BACK, self.size)) - HOLD_BACK)
        self._wake()

    def verify(self, size: int) -> None:
        """Tell readers that the whole is there."""
        self.size = self.readable = self.received = size
        self._verified = True
        self._wake()

    def fail(self, error: WaveletError) -> None:
        """Tell readers that nothing more comes."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        event, self._grown = self._grown, asyncio.Event()
        event.set()

    def finish(self) -> None:
        """Close the writer's descriptor; the blob is committed, or has failed."""
        self._finished.set()
        with contextlib.suppress(OSError):
            os.close(self._fd)


_DEFECT = "a fetch failed by a defect"

PUBLIC = "public"
"""The origin of bytes that were readable anonymously, or by a site login that is for all."""

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
            await drain(incoming.chunks, self._write)
            return incoming.public

    async def _write(self, chunks: list[bytes], size: int) -> None:
        total = self._written + size
        limit = self._partial.size
        if limit is not None and total > limit:
            raise self._blame(f"{self._partial.digest}: more bytes than the {limit} that it has")
        if total > self._reserved:
            await self._reserve(RESERVE_STEP)
        await hash_and_write(self._fd, self._written, chunks, self._hasher)
        self._written = total
        self._room.arrive(size)
        self._partial.grow(total)

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
