"""The retention of blobs: what is leased, held by what runs now, pinned, or the last copy that there is stays."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from wavelet.ages import SKEW, is_ahead
from wavelet.image.digest import Digest
from wavelet.store.database import Database
from wavelet.store.pins import Pins

SCHEMA = """
CREATE TABLE IF NOT EXISTS leased (digest TEXT PRIMARY KEY, since REAL, until REAL) WITHOUT ROWID;
DROP TABLE IF EXISTS leases;
CREATE TABLE IF NOT EXISTS last_copies (digest TEXT PRIMARY KEY, at REAL) WITHOUT ROWID;
"""

LAST_COPY_LIFETIME = 2 * 365 * 86400.0
"""Seconds after which the last copy of what cannot be made again is kept no longer, as is the claim that names it."""

LEASE_GRAIN = 60.0
"""Seconds within which a further lease of a blob is not written down again."""


_NEVER = 0.0, 0.0


class Retention:
    """Digests that are safe from eviction, in the store or yet to come. Leases and pins outlive a restart.

    Attributes:
        pins: what is kept for good.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[Digest, tuple[float, float]] = {}
        self._holds: Counter[Digest] = Counter()
        self.pins = Pins(database)
        rows = database.read("SELECT digest, at FROM last_copies")
        self._last_copies: dict[Digest, float] = {Digest(text): at for text, at in rows}
        for text, since, until in database.read("SELECT digest, since, until FROM leased"):
            self._leases[Digest(text)] = since, until
        self.expire()

    def __contains__(self, digest: object) -> bool:
        return digest in self._leases or self.stays(digest)

    def stays(self, digest: object) -> bool:
        """Tell whether a blob is held, pinned or a last copy, so that it stays even when it is named."""
        return digest in self._holds or digest in self.pins or digest in self._last_copies

    async def keep_last_copy(self, digest: Digest) -> None:
        """Keep a blob that cannot be made again as it is; it counts from now on."""
        self._last_copies[digest] = now = time.time()
        await self._database.write([("INSERT OR REPLACE INTO last_copies VALUES (?, ?)", (digest, now))])

    def lease(self, digests: Iterable[Digest], until: float) -> None:
        """Keep blobs from eviction until a time (seconds since the epoch)."""
        now = time.time()
        for digest in digests:
            known = self._leases.get(digest, _NEVER)
            if until - known[1] > LEASE_GRAIN or not _stands(known, now):
                self._leases[digest] = now, until
                self._database.write_later("INSERT OR REPLACE INTO leased VALUES (?, ?, ?)", digest, now, until)

    def leased_until(self, digest: Digest) -> float | None:
        """Return until when a blob is leased (seconds since the epoch), if it is."""
        lease = self._leases.get(digest, _NEVER)
        return lease[1] if _stands(lease, time.time()) else None

    def expire(self) -> None:
        """Forget leases that have ended, or that a clock which was wrong has begun."""
        now = time.time()
        for digest in [digest for digest, lease in self._leases.items() if not _stands(lease, now)]:
            del self._leases[digest]
        self._database.write_later("DELETE FROM leased WHERE until <= ? OR since > ?", now, now + SKEW)
        kept = {digest: min(at, now) for digest, at in self._last_copies.items() if at > now - LAST_COPY_LIFETIME}
        if kept != self._last_copies:
            self._last_copies = kept
            self._database.write_later("DELETE FROM last_copies WHERE at <= ?", now - LAST_COPY_LIFETIME)
            self._database.write_later("UPDATE last_copies SET at = ? WHERE at > ?", now, now)

    def hold(self, digests: Collection[Digest]) -> None:
        """Keep blobs from eviction until `release` is called as often, or the daemon ends."""
        self._holds.update(iter(digests))

    def release(self, digests: Collection[Digest]) -> None:
        """Give back what `hold` took; others may hold the same blobs."""
        self._holds.subtract(iter(digests))
        for digest in digests:
            if not self._holds[digest]:
                del self._holds[digest]

    @contextlib.contextmanager
    def holding(self, digests: Collection[Digest]) -> Iterator[None]:
        """Hold blobs inside."""
        self.hold(digests)
        try:
            yield
        finally:
            self.release(digests)


def _stands(lease: tuple[float, float], now: float) -> bool:
    since, until = lease
    return until > now and not is_ahead(since, now)
