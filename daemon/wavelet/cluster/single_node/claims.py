"""Claims of a single node, in its own database. There is nobody to share blobs with."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from wavelet.ages import is_within
from wavelet.cluster.claims import BLOB_LIMIT, UNUSED_LIFETIME, USE_GRAIN, name_of, seal, unseal
from wavelet.image.digest import Digest
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (name TEXT PRIMARY KEY, claim BLOB, used REAL) WITHOUT ROWID;
"""

_INSERT = "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)"
_REPLACE = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"


class SqliteClaims:
    """See `wavelet.cluster.claims.Claims`."""

    shares = False

    def __init__(self, database: Database, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use a database with `SCHEMA`; `secret` is the cluster's key, `clock` gives unix seconds."""
        self._database = database
        self._secret = secret
        self._clock = clock

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Claims.claim`."""
        standing = None if replace else await self.claimed(key)
        if standing is not None:
            return standing
        # What is there already is not authentic; what comes in between is another's claim, and stands.
        known = self._database.read("SELECT 1 FROM claims WHERE name = ?", name_of(key))
        row = (name_of(key), seal(self._secret, key, data), self._clock())
        await self._database.write([(_REPLACE if replace or known else _INSERT, row)])
        return await self.claimed(key) or data

    async def claimed(self, key: str) -> bytes | None:
        """See `Claims.claimed`."""
        rows = self._database.read("SELECT claim, used FROM claims WHERE name = ?", name_of(key))
        if not rows:
            return None
        if not is_within(rows[0][1], self._clock(), USE_GRAIN):
            self._database.write_later("UPDATE claims SET used = ? WHERE name = ?", self._clock(), name_of(key))
        return unseal(self._secret, key, rows[0][0], "this node's database")

    async def share(self, file: Path, digest: Digest) -> None:
        """See `Claims.share`. It keeps nothing: the store has the blob."""

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """See `Claims.fetch`. It finds nothing."""
        return None

    async def expire(self) -> int:
        """Forget what was not used in `UNUSED_LIFETIME`; return how many claims."""
        now = self._clock()
        self._database.write_later("UPDATE claims SET used = ? WHERE used > ?", now, now)
        return await self._database.write([("DELETE FROM claims WHERE used < ?", (now - UNUSED_LIFETIME,))])
