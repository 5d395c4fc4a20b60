"""The memory of what was pushed where, so that another repository of the same registry gets it from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from cachetools import LRUCache

from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.quantities import is_within
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS pushed (host TEXT, digest TEXT, holder TEXT, path TEXT, at REAL,
    PRIMARY KEY (host, digest, holder)) WITHOUT ROWID;
"""

UNUSED_LIFETIME = 90 * 86400
"""Seconds for which it is remembered where a blob is; then the registry gets the bytes once more."""

USE_GRAIN = 86400.0
"""Seconds in which a further use of the same repository is not written down."""

LATEST = 10_000
"""Blobs of which the place is also in memory: what was written down last cannot be read at once."""

_Key = tuple[str, Digest, str]
"""A registry, a blob, and for whom."""


class PushedBlobs:
    """Remembers for each registry where a blob was last seen, by whom: nobody hears of others' repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: LRUCache[_Key, str] = LRUCache(LATEST)
        self._turns: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, repository: Repository, digest: Digest, identity: Identity) -> AsyncIterator[list[Repository]]:
        """Wait while a blob is sent to another repository of the registry; yield where it can be mounted from then.

        Images of one pipeline have most of their bytes in common, and are copied at one time.
        """
        lock = self._turns.setdefault((repository.host, digest, str(identity.principal)), asyncio.Lock())
        async with lock:
            yield self.elsewhere(repository, digest, identity)

    def add(self, repository: Repository, digest: Digest, identity: Identity) -> None:
        """Take note that a blob is in a repository; a push does not fail where that cannot be written."""
        now = time.time()
        found = self._find(repository.host, digest, identity)
        if found is None or found[0] != repository.path or not is_within(found[1], now, USE_GRAIN):
            self._latest[repository.host, digest, str(identity.principal)] = repository.path
            row = (repository.host, digest, str(identity.principal), repository.path, now)
            self._database.write_later("INSERT OR REPLACE INTO pushed VALUES (?, ?, ?, ?, ?)", *row)

    def elsewhere(self, repository: Repository, digest: Digest, identity: Identity) -> list[Repository]:
        """Return another repository of the same registry that has a blob, if one is known."""
        path = self._latest.get((repository.host, digest, str(identity.principal)))
        if path is None:
            found = self._find(repository.host, digest, identity)
            path = None if found is None else found[0]
        return [] if path in (None, repository.path) else [Repository(repository.host, path)]

    def _find(self, host: str, digest: Digest, identity: Identity) -> tuple[str, float] | None:
        sql = "SELECT path, at FROM pushed WHERE host = ? AND digest = ? AND holder = ?"
        rows = self._database.read(sql, host, digest, str(identity.principal))
        return (rows[0][0], rows[0][1]) if rows else None

    def expire(self) -> None:
        """Forget what was not seen in `UNUSED_LIFETIME`."""
        self._latest.clear()
        now = time.time()
        self._database.write_later("DELETE FROM pushed WHERE at NOT BETWEEN ? AND ?", now - UNUSED_LIFETIME, now)
