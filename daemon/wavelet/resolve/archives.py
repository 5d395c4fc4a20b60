"""Archives that everybody may have, fetched over as many connections as it takes, verified, and kept by the store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from wavelet.errors import (
    DigestMismatch,
    NotFound,
    TooLarge,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of
from wavelet.resolve.events import Download
from wavelet.resolve.job import account
from wavelet.resolve.metrics import FETCHED_BYTES
from wavelet.store.content import Committed, ContentStore, in_place
from wavelet.store.database import Database
from wavelet.store.draining import drain
from wavelet.store.ingest import Incoming, Opener, PartialBlob
from wavelet.upstream.retry import RetryPolicy
from wavelet.upstream.streams import Stream
from wavelet.upstream.transport import label_of

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


SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (md5 TEXT PRIMARY KEY, digest TEXT) WITHOUT ROWID;
"""

ORIGIN = "archive"
"""The origin, in the store, of what is fetched here."""

CHANNEL = "channel"
"""What metrics call where archives come from."""

DOWNLOAD_LIMIT = 8 * 1024**3
"""Most bytes of a file whose size nobody says."""

OpenUrl = Callable[[str, int], AbstractAsyncContextManager[Stream]]
"""Opens a URL at an offset, with the logins, mirrors and proxies that there are for it."""


class Archives:
    """Fetches archives into the store, each once."""

    def __init__(self, store: ContentStore, open_url: OpenUrl, database: Database) -> None:
        self._store = store
        self._open_url = open_url
        self._database = database

    async def get(self, url: str, digest: Digest, size: int | None) -> Path:
        """Return the verified file of an archive. Whoever asks holds it in the store, so that it stays.

        Raises:
            UpstreamBroken: the bytes there have another digest or size.
            WaveletError: they cannot be had.
        """
        blob = await self._store.open(digest, ORIGIN, thorough=True)
        if blob is None:
            blob = await self._store.ingest(digest, size, ORIGIN, self._opener(url), _blaming(url))
        if isinstance(blob, PartialBlob):
            account().take_in(blob)
        try:
            return (await in_place(self._store, blob, ORIGIN, url)).path
        except NotFound as error:
            raise UpstreamBroken(f"{error.message}, though an index or a lock names it") from None

    def _opener(self, url: str) -> Opener:
        return resuming(lambda offset: self._open_url(url, offset), CHANNEL)

    async def download(self, urls: Sequence[str], md5: str | None) -> Committed:
        """Return the file that one of `urls` has, verified by its MD5 (in hexadecimal) where that is known.

        It may be evicted as soon as something is awaited, unless it is held.

        Raises:
            UpstreamError: none of them answers.
            DigestMismatch: none of them has this file.
        """
        rows = self._database.read("SELECT digest FROM downloads WHERE md5 = ?", md5)
        blob = await self._store.open(Digest(rows[0][0]), ORIGIN, thorough=True) if rows else None
        if isinstance(blob, Committed):
            return blob
        failures: list[WaveletError] = []
        for url in urls:
            try:
                return await self._download(url, md5)
            except (UpstreamError, DigestMismatch, NotFound) as error:
                failures.append(error)
        if not failures:
            raise NotFound(f"nothing says where the file with the MD5 {md5} is")
        raise failures[-1].with_message("; ".join(failure.message for failure in failures))

    async def _download(self, url: str, md5: str | None) -> Committed:
        async with self._opener(url)(0) as incoming:
            limit = DOWNLOAD_LIMIT if incoming.size is None else incoming.size
            async with self._store.scratch(limit, url) as directory:
                file = directory / "download"
                md5_of, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
                size = await _write(incoming, file, limit, url, md5_of.update, sha256.update)
                own_md5, digest = md5_of.hexdigest(), Digest(f"sha256:{sha256.hexdigest()}")
                if md5 not in (None, own_md5):
                    raise DigestMismatch(f"{url} has the MD5 {own_md5} instead of {md5}")
                with self._store.retention.holding([digest]):
                    await self._store.adopt(file, digest, size, ORIGIN, public=True)
                    await self._database.write([("INSERT OR REPLACE INTO downloads VALUES (?, ?)", (own_md5, digest))])
                    blob = self._store.find(digest, ORIGIN)
        return await in_place(self._store, blob, ORIGIN, url)


async def receive(open_at: OpenAt, file: Path, limit: int, url: str) -> Digest:
    """Write what is at a URL into a file, resuming what breaks off, and return its digest.

    Raises:
        TooLarge: it has more than `limit` bytes.
        WaveletError: it cannot be had.
    """
    sha256 = hashlib.sha256()
    async with resuming(open_at, CHANNEL)(0) as incoming:
        await _write(incoming, file, limit, url, sha256.update)
    return Digest(f"sha256:{sha256.hexdigest()}")


async def _write(incoming: Incoming, file: Path, limit: int, url: str, *takers: Callable[[bytes], object]) -> int:
    """Write what comes into a file, hand it to `takers` in a thread too, and return how many bytes it had."""
    download = Download(incoming.size)
    account().take_in(download)
    try:
        with file.open("wb") as target:

            async def write(chunks: list[bytes], size: int) -> None:
                if download.received + size > limit:
                    raise TooLarge(f"{url} has more than the {size_of(limit)} that are accepted")
                await asyncio.to_thread(_take, chunks, target.write, *takers)
                download.received += size

            await drain(incoming.chunks, write)
    except BaseException:
        download.failed = True
        raise
    return download.received


def _blaming(url: str) -> Callable[[str], WaveletError]:
    return lambda message: UpstreamBroken(f"{url}: {message}")


def _take(chunks: Sequence[bytes], *takers: Callable[[bytes], object]) -> None:
    for chunk in chunks:
        for taker in takers:
            taker(chunk)
