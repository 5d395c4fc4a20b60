"""A partial blob: any number of readers follow the file that one writer fills."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from wavelet.errors import WaitExpired, WaveletError, fresh_copy
from wavelet.image.digest import Digest

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

    async def wait_verified(self) -> None:
        """Wait for the end of the fetch.

        Raises:
            WaveletError: the fetch has failed.
        """
        while not self._verified:
            self._raise_failure()
            await self._grown.wait()

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
