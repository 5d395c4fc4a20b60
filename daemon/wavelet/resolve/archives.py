"""Files that everybody may have: packages, wheels, what post-link scripts download. Verified, and kept by the store."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from wavelet.errors import DigestMismatch, NoSpace, NotFound, TooLarge, UpstreamBroken, UpstreamError, WaveletError
from wavelet.image.digest import Digest
from wavelet.plan.conda import Package
from wavelet.resolve.resume import resuming
from wavelet.store.content import Committed, ContentStore
from wavelet.store.database import Database
from wavelet.store.growing import Growing
from wavelet.store.ingest import Opener
from wavelet.upstream.channels import Channels

SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (md5 TEXT PRIMARY KEY, digest TEXT) WITHOUT ROWID;
"""

ORIGIN = "archive"
"""The origin, in the store, of what is fetched here."""

CHANNEL = "channel"
"""What metrics call where archives come from."""

HELD = 900.0
"""Seconds for which an archive is kept from eviction while something is made of it; then it is asked for again."""

DOWNLOAD_LIMIT = 8 * 1024**3
"""Most bytes of a file whose size nobody says."""


class Archives:
    """Fetches archives into the store, each once."""

    def __init__(self, store: ContentStore, channels: Channels, database: Database) -> None:
        self._store = store
        self._channels = channels
        self._database = database
        self._holders: Counter[Digest] = Counter()

    async def get(self, url: str, digest: Digest, size: int | None) -> Path:
        """Return the verified file of an archive; it stays for `HELD` seconds, or until `let_go`.

        Raises:
            UpstreamBroken: the bytes there have another digest or size.
            WaveletError: they cannot be had.
        """
        self._store.lease([digest], time.time() + HELD)
        blob = self._store.find(digest, ORIGIN)
        if blob is None:
            blob = await self._store.ingest(digest, size, ORIGIN, self._opener(url), _blaming(url))
        if isinstance(blob, Growing):
            try:
                await blob.wait_committed()
            except NotFound as error:
                raise UpstreamBroken(f"{error.message}, though an index or a lock names it") from None
            blob = self._store.find(digest, ORIGIN)
        if not isinstance(blob, Committed):
            raise NoSpace(f"{url} was evicted before it could be used; the store is too small")
        return blob.path

    def _opener(self, url: str) -> Opener:
        return resuming(lambda offset: self._channels.open(url, offset), CHANNEL)

    def hold(self, digest: Digest) -> None:
        """Keep an archive for one more making, until that lets it go."""
        self._holders[digest] += 1

    def let_go(self, digests: Collection[Digest]) -> None:
        """Let archives be evicted again that nobody else holds."""
        self._holders.subtract(digests)
        free = [digest for digest in digests if self._holders[digest] <= 0]
        for digest in free:
            del self._holders[digest]
        self._store.unlease(free)

    async def complete(self, package: Package) -> Package:
        """Return a package with the SHA-256 and size of its file, which is verified by the MD5 if there is one.

        Raises:
            UpstreamBroken: the file there has another MD5.
            WaveletError: it cannot be had.
        """
        try:
            blob = await self.download([package.url], package.md5)
        except DigestMismatch as error:
            raise UpstreamBroken(f"{error.message}; the channel's index, or the lock that names it, is wrong") from None
        return replace(package, sha256=blob.digest.hex, size=blob.size)

    async def download(self, urls: Sequence[str], md5: str | None) -> Committed:
        """Return the file that one of `urls` has, verified by its MD5 (in hexadecimal) where that is known.

        Raises:
            UpstreamError: none of them answers.
            DigestMismatch: none of them has this file.
        """
        rows = self._database.read("SELECT digest FROM downloads WHERE md5 = ?", md5)
        blob = self._store.find(Digest(rows[0][0]), ORIGIN) if rows else None
        if isinstance(blob, Committed):
            self._store.lease([blob.digest], time.time() + HELD)
            return blob
        failures: list[WaveletError] = []
        for url in urls:
            try:
                return await self._download(url, md5)
            except (UpstreamError, DigestMismatch, NotFound) as error:
                failures.append(error)
        if not failures:
            raise NotFound(f"nothing says where the file with the MD5 {md5} is")
        raise failures[-1].saying("; ".join(failure.message for failure in failures))

    async def _download(self, url: str, md5: str | None) -> Committed:
        checks = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        async with self._opener(url)(0) as incoming:
            limit = DOWNLOAD_LIMIT if incoming.size is None else incoming.size
            async with self._store.scratch(limit, url) as directory:
                file = directory / "download"
                with file.open("wb") as target:
                    async for chunk in incoming.chunks:
                        if target.tell() + len(chunk) > limit:
                            raise TooLarge(f"{url} has more than the {limit} bytes that are accepted")
                        await asyncio.to_thread(_take, chunk, target.write, *(check.update for check in checks))
                    size = target.tell()
                if md5 not in (None, checks[0].hexdigest()):
                    raise DigestMismatch(f"{url} has the MD5 {checks[0].hexdigest()} instead of {md5}")
                digest = Digest(f"sha256:{checks[1].hexdigest()}")
                self._store.lease([digest], time.time() + HELD)
                await self._store.adopt(file, digest, size, ORIGIN, public=True)
        row = (checks[0].hexdigest(), digest)
        await self._database.write([("INSERT OR REPLACE INTO downloads VALUES (?, ?)", row)])
        blob = self._store.find(digest, ORIGIN)
        if not isinstance(blob, Committed):
            raise NoSpace(f"{url} was evicted before it could be used; the store is too small")
        return blob


def _blaming(url: str) -> Callable[[str], WaveletError]:
    return lambda message: UpstreamBroken(f"{url}: {message}")


def _take(chunk: bytes, *takers: Callable[[bytes], object]) -> None:
    for taker in takers:
        taker(chunk)
