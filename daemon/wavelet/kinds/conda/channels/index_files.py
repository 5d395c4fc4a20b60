"""The index files of channels, kept in the store: asked for at most once per `ttl`, with validators, for all at once.

An index moves, so it is remembered by its URL, with when it was looked at and which version its server says it is. One
that cannot be asked for is as good as the last one that could. Shards are named by their digest and never move.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from wavelet.concurrency import SingleFlight
from wavelet.config import Apply, Settings
from wavelet.errors import (
    AccessRefused,
    NotFound,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels import shard_index
from wavelet.kinds.conda.channels.client import Channels, Fetched, Version
from wavelet.kinds.conda.channels.shards import ORIGIN, InMemory, Shards
from wavelet.quantities import is_within
from wavelet.quantities import size as size_of
from wavelet.store.content import Committed, ContentStore, evicted
from wavelet.store.database import Database
from wavelet.upstream.retry import ConnectionBroke, ExpiringSet, repeated

SCHEMA = """
CREATE TABLE IF NOT EXISTS channel_files (
    url TEXT PRIMARY KEY, digest TEXT, address TEXT, etag TEXT, modified TEXT, encoding TEXT, checked REAL
) WITHOUT ROWID;
"""

ANSWER_LIMIT = 10.0
"""Seconds for a server to begin its answer where an earlier one can stand in for it."""

RENEWAL_LIMIT = 45.0
"""Seconds that a solve waits for an index to come where an earlier one can stand in; it goes on coming for the next."""

REST = 30.0
"""Seconds for which a server that did not answer is not asked again for what an earlier answer stands in for."""

UNKNOWN_SIZE = 256 * 1024 * 1024
"""Most bytes of an index whose server does not say how many it has."""

SIZE_LIMIT = 4 * 1024 * 1024 * 1024
"""Most bytes of an index. The largest one known has some 500 million."""

WRITE_SIZE = 1024 * 1024
"""Bytes handed to a thread at a time, to be hashed and written."""

_SHARD = re.compile(r".*/([0-9a-f]{64})\.msgpack\.zst")
_PLAIN = "/repodata.json"
_BEGINNINGS = {".zst": b"\x28\xb5\x2f\xfd", ".bz2": b"BZh", ".json": b"{"}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An index file, in the store or about to be; `encoding` is its `Content-Encoding`, mostly empty."""

    blob: Committed | InMemory
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of a URL: the digest of what is there, or None if there is nothing; `checked` in Unix time."""

    digest: Digest | None
    version: Version
    encoding: str
    checked: float


class IndexFiles:
    """The index files of one node."""

    def __init__(self, channels: Channels, store: ContentStore, database: Database, settings: Settings) -> None:
        self._channels = channels
        self._store = store
        self._shards = Shards(channels, store)
        self._database = database
        self.configure(settings)()
        self._asked_since = 0.0
        self._resting: ExpiringSet[str] = ExpiringSet()
        self._renewals: SingleFlight[str, IndexFile] = SingleFlight("index", keep=True)
        self._rows: dict[str, _Row] = {}
        rows = database.read("SELECT url, digest, address, etag, modified, encoding, checked FROM channel_files")
        for url, digest, address, etag, modified, encoding, checked in rows:
            version = Version(address, etag, modified)
            self._rows[url] = _Row(Digest(digest) if digest else None, version, encoding, checked)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: for how many seconds an index is not asked for again."""

        def apply() -> None:
            self._ttl = settings.conda.repodata_ttl

        return apply

    async def close(self) -> None:
        """End what is being fetched."""
        await self._renewals.close()
        await self._shards.close()

    def refresh(self) -> None:
        """Let everything be asked for again, however lately it was."""
        self._asked_since = time.time()
        self._resting.clear()

    def expire(self) -> None:
        """Forget what is no longer in the store, and what was not there a day ago."""
        now = time.time()
        for url, row in list(self._rows.items()):
            gone = not is_within(row.checked, now, 86400) if row.digest is None else self._held(row) is None
            if gone:
                del self._rows[url]
                self._database.write_later("DELETE FROM channel_files WHERE url = ?", url)

    def due_in(self, channels: Iterable[str]) -> float:
        """Return after how many seconds at the most an index of these channels is asked for again."""
        wanted = set(channels)
        return min((self._left(row) for url, row in self._rows.items() if url.rsplit("/", 2)[0] in wanted), default=0.0)

    async def get(self, url: str) -> IndexFile:
        """Return an index file or a shard, undamaged.

        Raises:
            NotFound, AccessRefused, InvalidRequest: definite answers.
            UpstreamError: no answer, and no earlier one.
            NoSpace: the store has no room for it.
        """
        shard = _SHARD.fullmatch(url)
        if shard is not None:
            return IndexFile(await self._shards.get(url, Digest(f"sha256:{shard[1]}")))
        file = await self._get(url)
        if await self._store.open(file.blob.digest, ORIGIN, thorough=True) is None:
            return await self._get(url)  # what was damaged is no longer there, and comes again
        return file

    async def _get(self, url: str) -> IndexFile:
        known = self._fresh(url)
        if known is not None:
            return known
        row = self._rows.get(url)
        held = None if row is None else self._held(row)
        try:
            async with asyncio.timeout(None if held is None else RENEWAL_LIMIT):
                return await self._renewals.run(url, lambda: self._renew(url))
        except TimeoutError:
            assert held is not None
            _log.warning("an earlier index stands in", url=url, because="the new one is slow to come")
            return held

    async def is_there(self, url: str) -> bool:
        """Tell whether there is such a file, without fetching it; as far as is known, if its server does not say."""
        row = self._rows.get(url)
        if row is not None and row.digest is not None and self._held(row) is not None:
            return True
        if row is not None and row.digest is None and self._is_fresh(url, row):
            return False
        if row is None and self._rests(url):
            return False
        try:
            async with self._channels.fetch(url):
                return True
        except NotFound:
            await self._remember(url, _Row(None, Version(""), "", time.time()))
        except (UpstreamError, AccessRefused) as error:
            self._rest(url, error)
        return False

    # -- what is known ------------------------------------------------------------------------------------------------

    def _fresh(self, url: str) -> IndexFile | None:
        row = self._rows.get(url)
        if row is None or not self._is_fresh(url, row):
            return None
        if row.digest is None:
            raise _nothing(url)
        return self._held(row)

    def _is_fresh(self, url: str, row: _Row) -> bool:
        # Where nothing was is no earlier answer that could stand in for a server that does not answer.
        if self._rests(url) and (row.digest is not None or not url.endswith(_PLAIN)):
            return True
        asked = row.checked > self._asked_since or self._asked_since > time.time()
        return asked and self._left(row) > 0

    def _left(self, row: _Row) -> float:
        """Return for how many seconds a row need not be looked at again; one from the future is of a wrong clock."""
        age = time.time() - row.checked
        return self._ttl - age if age >= 0 else 0.0

    def _rests(self, url: str) -> bool:
        return url in self._resting or _server(url) in self._resting

    def _rest(self, url: str, error: WaveletError) -> None:
        # Nothing that is known is asked of a server that cannot be reached; each index would wait in its turn.
        self._resting.add(_server(url) if isinstance(error, UpstreamUnreachable) else url, REST)

    def _held(self, row: _Row) -> IndexFile | None:
        blob = None if row.digest is None else self._store.find(row.digest, ORIGIN)
        return IndexFile(blob, row.encoding) if isinstance(blob, Committed) else None

    async def _remember(self, url: str, row: _Row) -> None:
        self._rows[url] = row
        version = row.version
        values = (url, row.digest or "", version.address, version.etag, version.modified, row.encoding, row.checked)
        await self._database.write([("INSERT OR REPLACE INTO channel_files VALUES (?, ?, ?, ?, ?, ?, ?)", values)])

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _renew(self, url: str) -> IndexFile:
        row = self._rows.get(url)
        held = None if row is None else self._held(row)
        began = time.time()
        try:
            return await repeated(lambda: self._ask(url, row if held else None, began), on=(ConnectionBroke,))
        except NotFound:
            await self._remember(url, _Row(None, Version(""), "", began))
            raise
        except (UpstreamError, AccessRefused) as error:
            if row is None or (isinstance(error, AccessRefused) and not error.declined):
                raise
            if row.digest is None and not url.endswith(_PLAIN):
                self._rest(url, error)
                raise _nothing(url) from None
            if held is None:
                raise
            self._rest(url, error)
            _log.warning("an earlier index stands in", url=url, because=error.message)
            return held

    async def _ask(self, url: str, row: _Row | None, began: float) -> IndexFile:
        async with contextlib.AsyncExitStack() as stack:
            fetching = self._channels.fetch(url, known=None if row is None else row.version)
            try:
                async with asyncio.timeout(None if row is None else ANSWER_LIMIT):
                    fetched = await stack.enter_async_context(fetching)
            except TimeoutError:
                raise UpstreamUnreachable(f"{url} is not answered within {ANSWER_LIMIT:g} s") from None
            if fetched is not None:
                row = await self._keep(url, fetched, began)
        assert row is not None
        self._resting.discard(url)
        self._resting.discard(_server(url))
        await self._remember(url, replace(row, checked=began))
        found = self._held(row)
        if found is None:
            raise evicted(f"the index {url}")
        return found

    async def _keep(self, url: str, fetched: Fetched, began: float) -> _Row:
        size = fetched.stream.size
        if size is not None and size > SIZE_LIMIT:
            raise UpstreamBroken(f"{url} has {size_of(size)}, too much for an index")
        reserved = UNKNOWN_SIZE if size is None else size
        async with self._store.scratch(reserved, f"the index {url} ({size_of(reserved)})") as directory:
            file = directory / "index"
            await _write(fetched.stream.chunks, file, reserved, url)
            digest, written = await asyncio.to_thread(_finish, file, url, fetched.encoding)
            await self._store.adopt(file, digest, written, ORIGIN, public=True)
        return _Row(digest, fetched.version, fetched.encoding, began)


async def _write(chunks: AsyncIterator[bytes], file: Path, limit: int, url: str) -> None:
    """Write what comes into a new file, at most `limit` bytes."""
    waiting: list[bytes] = []
    size = held = 0
    with await asyncio.to_thread(file.open, "xb") as out:
        async for chunk in chunks:
            waiting.append(chunk)
            size, held = size + len(chunk), held + len(chunk)
            if size > limit:
                raise UpstreamBroken(
                    f"{url} has more than {size_of(limit)}, too much for an index of which it says no size"
                )
            if held >= WRITE_SIZE:
                await asyncio.shield(asyncio.to_thread(out.writelines, waiting))
                waiting, held = [], 0
        await asyncio.shield(asyncio.to_thread(out.writelines, waiting))
        await asyncio.shield(asyncio.to_thread(out.flush))


def _finish(file: Path, url: str, encoding: str) -> tuple[Digest, int]:
    """Check that a file is an index, change it if its shards are elsewhere, and return its digest and size. Blocks."""
    with file.open("rb") as data:
        # A proxy's page for people is no index, and must not be remembered as one.
        if not encoding and not data.read(64).lstrip().startswith(_BEGINNINGS.get(Path(url).suffix, b"")):
            raise UpstreamBroken(f"{url} answers something that is no index")
    if url.endswith(f"/{shard_index.NAME}"):
        changed = shard_index.localised(file.read_bytes(), url)
        if changed is not None:
            file.write_bytes(changed)
    with file.open("rb") as data:
        return Digest(f"sha256:{hashlib.file_digest(data, 'sha256').hexdigest()}"), file.stat().st_size


def _server(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _nothing(url: str) -> NotFound:
    return NotFound(f"there is nothing at {url}")
