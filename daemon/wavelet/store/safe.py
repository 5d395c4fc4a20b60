"""What may not be evicted: leased for a time, held by what runs now, or pinned."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from wavelet.image.digest import Digest
from wavelet.store.database import Database
from wavelet.store.pins import Pins

SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (digest TEXT PRIMARY KEY, until REAL) WITHOUT ROWID;
"""

LEASE_GRAIN = 60.0
"""Seconds within which a further lease of a blob is not written down again."""


class Safe:
    """Digests that are safe from eviction, in the store or yet to come. Leases and pins outlive a restart.

    Attributes:
        pins: what is kept for good.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[Digest, float] = {}
        self._holds: Counter[Digest] = Counter()
        self.pins = Pins(database)
        for text, until in database.read("SELECT digest, until FROM leases WHERE until > ?", time.time()):
            self._leases[Digest(text)] = until
        self.expire()

    def __contains__(self, digest: object) -> bool:
        return digest in self._leases or self.stays(digest)

    def stays(self, digest: object) -> bool:
        """Tell whether a blob is held or pinned, so that it stays even when it is named."""
        return digest in self._holds or digest in self.pins

    def lease(self, digests: Iterable[Digest], until: float) -> None:
        """Keep blobs from eviction until a time (seconds since the epoch)."""
        for digest in digests:
            if until - self._leases.get(digest, 0.0) > LEASE_GRAIN:
                self._leases[digest] = until
                self._database.write_later("INSERT OR REPLACE INTO leases VALUES (?, ?)", digest, until)

    def leased_until(self, digest: Digest) -> float | None:
        """Return until when a blob is leased (seconds since the epoch), if it is."""
        until = self._leases.get(digest, 0.0)
        return until if until > time.time() else None

    def expire(self) -> None:
        """Forget leases that have ended."""
        now = time.time()
        for digest in [digest for digest, until in self._leases.items() if until <= now]:
            del self._leases[digest]
        self._database.write_later("DELETE FROM leases WHERE until <= ?", now)

    def hold(self, digests: Collection[Digest]) -> None:
        """Keep blobs from eviction until `let_go` is called as often, or the daemon ends."""
        self._holds.update(iter(digests))

    def let_go(self, digests: Collection[Digest]) -> None:
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
            self.let_go(digests)
