"""The files that everybody may have: packages, wheels, downloads of scripts. Verified, and kept by the store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from wavelet.errors import DigestMismatch, NotFound, TooLarge, UpstreamBroken, UpstreamError, WaveletError
from wavelet.image.digest import Digest
from wavelet.resolve.events import Download
from wavelet.resolve.job import account
from wavelet.resolve.resume import resuming
from wavelet.sizes import size as size_of
from wavelet.store.content import Committed, ContentStore
from wavelet.store.database import Database
from wavelet.store.in_place import in_place
from wavelet.store.ingest import Incoming, Opener
from wavelet.store.partial_blob import PartialBlob
from wavelet.upstream.streams import Stream

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
                own_md5, digest, size = await _write(incoming, file, limit, url)
                if md5 not in (None, own_md5):
                    raise DigestMismatch(f"{url} has the MD5 {own_md5} instead of {md5}")
                with self._store.retention.holding([digest]):
                    await self._store.adopt(file, digest, size, ORIGIN, public=True)
                    await self._database.write([("INSERT OR REPLACE INTO downloads VALUES (?, ?)", (own_md5, digest))])
                    blob = self._store.find(digest, ORIGIN)
        return await in_place(self._store, blob, ORIGIN, url)


async def _write(incoming: Incoming, file: Path, limit: int, url: str) -> tuple[str, Digest, int]:
    """Write what comes into a file; return its MD5 in hexadecimal, its digest and its bytes."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    download = Download(incoming.size)
    account().take_in(download)
    try:
        with file.open("wb") as target:
            async for chunk in incoming.chunks:
                if download.received + len(chunk) > limit:
                    raise TooLarge(f"{url} has more than the {size_of(limit)} that are accepted")
                await asyncio.to_thread(_take, chunk, target.write, md5.update, sha256.update)
                download.received += len(chunk)
    except BaseException:
        download.failed = True
        raise
    return md5.hexdigest(), Digest(f"sha256:{sha256.hexdigest()}"), download.received


def _blaming(url: str) -> Callable[[str], WaveletError]:
    return lambda message: UpstreamBroken(f"{url}: {message}")


def _take(chunk: bytes, *takers: Callable[[bytes], object]) -> None:
    for taker in takers:
        taker(chunk)
