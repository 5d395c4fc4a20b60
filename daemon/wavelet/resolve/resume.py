"""One blob's bytes over as many connections as it takes: a broken transfer is taken up again by Range."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from wavelet.errors import TooLarge, UpstreamBroken, UpstreamUnreachable
from wavelet.resolve.metrics import FETCHED_BYTES
from wavelet.sizes import size as size_of
from wavelet.store.ingest import Incoming, Opener
from wavelet.upstream.metrics import label_of
from wavelet.upstream.retry import RetryPolicy
from wavelet.upstream.streams import Stream

RESUMES = 5
"""How often a broken transfer is taken up again without a byte of progress before it fails."""

LEAST_BYTES = 64 * 1024
RATE_WINDOW = 60.0
"""A server that sends fewer than `LEAST_BYTES` in so many seconds is as good as one that does not answer."""

TRANSFER_LIMIT = 1800.0
"""Seconds for a transfer whose bytes are limited: a server that trickles holds nothing up for ever."""

RESUMING = RetryPolicy(RESUMES + 1, first_delay=0.2, factor=2.0)
"""How long is waited before each resumption."""

OpenAt = Callable[[int], AbstractAsyncContextManager[Stream]]
"""Opens one connection to a source, at an offset."""


def resuming(open_at: OpenAt, label: str, limit: int | None = None) -> Opener:
    """Return an opener that resumes, counts its bytes under `label`, and lets at most `limit` bytes through."""

    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(open_at(offset))
            transfer = _Transfer(open_at, stack, first, offset, label, limit)
            transfer.check(first.size or 0)
            yield Incoming(offset, first.size, transfer.chunks(), public=first.granted.public)

    return opener


class _Transfer:
    def __init__(
        self, open_at: OpenAt, stack: AsyncExitStack, first: Stream, offset: int, label: str, limit: int | None
    ) -> None:
        self._open_at = open_at
        self._stack = stack
        self._stream = first
        self._position = offset
        self._fetched = FETCHED_BYTES.labels(label_of(label))
        self._limit = limit
        self._started = time.monotonic()

    def check(self, size: int) -> None:
        """Hold a number of bytes, and the time so far, against the limits.

        Raises:
            TooLarge: more bytes.
            UpstreamBroken: more time.
        """
        if self._limit is None:
            return
        if size > self._limit:
            raise TooLarge(f"more than {size_of(self._limit)}; upstream.layer_limit sets the most for a named layer")
        if time.monotonic() - self._started > TRANSFER_LIMIT:
            raise UpstreamBroken(f"the transfer takes longer than {TRANSFER_LIMIT:.0f} s")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes.

        Raises:
            UpstreamUnreachable: the connection broke once too often.
            UpstreamBroken: a resumption brought other bytes than those asked for.
            TooLarge: more than the limit.
        """
        resumes = 0
        while True:
            begun_at = self._position
            try:
                if resumes:
                    await self._reopen()
                async for chunk in self._rest_of_stream():
                    yield chunk
                size = self._stream.size
                if size is not None and self._position < size:
                    raise UpstreamUnreachable(f"the transfer ended after {self._position} of {size} bytes")
            except UpstreamUnreachable:
                resumes = 1 if self._position > begun_at else resumes + 1
                wait = RESUMING.delay(resumes)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
            else:
                return

    async def _rest_of_stream(self) -> AsyncIterator[bytes]:
        skip = self._position - self._stream.offset
        if skip < 0:
            raise UpstreamBroken(f"asked for bytes from {self._position}, it sent those from {self._stream.offset}")
        window = _Window()
        async for chunk in self._stream.chunks:
            window.count(len(chunk))
            kept = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            if kept:
                self._position += len(kept)
                self._fetched.inc(len(kept))
                self.check(self._position)
                yield kept

    async def _reopen(self) -> None:
        await self._stack.aclose()
        self._stream = await self._stack.enter_async_context(self._open_at(self._position))


class _Window:
    """Watches that a stream keeps the least rate."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._bytes = 0

    def count(self, size: int) -> None:
        self._bytes += size
        now = time.monotonic()
        if now - self._since < RATE_WINDOW:
            return
        if self._bytes < LEAST_BYTES:
            raise UpstreamUnreachable(f"the transfer brought {size_of(self._bytes)} in {RATE_WINDOW:.0f} s")
        self._since, self._bytes = now, 0
