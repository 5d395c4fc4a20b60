"""The entries of the store: what is known of each blob in place, and small documents kept in memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from cachetools import LRUCache

from wavelet.image.reference import Digest
from wavelet.quantities import is_within
from wavelet.store.database import Database, Statement

HOT_BYTES = 16 * 1024 * 1024
HOT_DOCUMENT = 256 * 1024
"""Larger documents are read from disk each time."""


class HotBytes:
    """The documents used last, of `HOT_BYTES` in all, by digest and origin."""

    def __init__(self) -> None:
        self._documents: LRUCache[tuple[Digest, str], bytes] = LRUCache(HOT_BYTES, getsizeof=len)

    def get(self, digest: Digest, origin: str) -> bytes | None:
        """Return a document if it is in memory."""
        return self._documents.get((digest, origin))

    def put(self, digest: Digest, origin: str, data: bytes) -> None:
        """Keep a document; the ones used longest ago make room."""
        if len(data) <= HOT_DOCUMENT:
            self._documents[digest, origin] = data

    def drop(self, digest: Digest, origin: str) -> None:
        """Keep a document no longer."""
        self._documents.pop((digest, origin), None)


Origins = Mapping[Digest, Set[str]]
"""Blobs, and where the bytes of each are known to be from."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, size INTEGER, used REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origins (digest TEXT, origin TEXT, PRIMARY KEY (digest, origin)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS derived (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (digest TEXT PRIMARY KEY, changed INTEGER, at REAL) WITHOUT ROWID;
"""

USE_GRAIN = 60.0
"""Seconds within which a further use of a blob is not written down again."""


@dataclass(slots=True)
class Entry:
    """A blob in place.

    Attributes:
        size: its bytes.
        used: when it was used last, in unix seconds.
        derived: whether it can be put together again from other content.
        origins: where these very bytes are known to have come from.
        changed: the file's time of change (see `files.changed_at`) when its bytes last had the digest; 0 if unknown.
        checked: when that was, in unix seconds; 0.0 if it is not known, or no longer relied upon.
        lately: when that was in the life of this process, by the monotonic clock.
    """

    size: int
    used: float
    derived: bool = False
    origins: set[str] = field(default_factory=set)
    changed: int = 0
    checked: float = 0.0
    lately: float = -math.inf

    def hold_good(self, changed: int) -> None:
        """Note that the bytes of the file, last changed at `changed`, have just been seen to have the digest."""
        self.changed, self.checked, self.lately = changed, time.time(), time.monotonic()


class Entries(OrderedDict[Digest, Entry]):
    """The blobs in place, the one used longest ago first. The `*_row` methods write; the others only remember."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def load(self, on_disk: Collection[Digest]) -> None:
        """Read the rows of the blobs that are on disk; those of others go."""
        origins: dict[str, set[str]] = {}
        for digest, origin in self._database.read("SELECT digest, origin FROM origins"):
            origins.setdefault(digest, set()).add(origin)
        derived = {digest for (digest,) in self._database.read("SELECT digest FROM derived")}
        checks = {row[0]: row[1:] for row in self._database.read("SELECT digest, changed, at FROM checks")}
        now = time.time()
        rows = self._database.read("SELECT digest, size, used FROM blobs ORDER BY MIN(used, ?)", now)
        for text, size, used in rows:
            digest = Digest(text)
            if digest in on_disk:
                found = origins.get(text, set())
                self[digest] = Entry(size, min(used, now), text in derived, found, *checks.get(text, (0, 0.0)))
            else:
                self.forget_rows(digest)

    def restore(self, digest: Digest, size: int, origins: Set[str]) -> None:
        """Count a blob on disk that is known from elsewhere, whether or not its rows are there."""
        entry = self.get(digest)
        if entry is None:
            entry = self[digest] = Entry(size, time.time())
        new = origins - entry.origins
        entry.origins |= new
        for sql, arguments in _rows(digest, entry, new) if new else ():
            self._database.write_later(sql, *arguments)

    def eviction_order(self) -> list[tuple[Digest, int]]:
        """Return the blobs with their bytes, in the order in which they are evicted.

        What can be put together again from other content goes before all that content, then what was used longest ago.
        """
        entries = sorted(self.items(), key=lambda item: not item[1].derived)
        return [(digest, entry.size) for digest, entry in entries]

    def use(self, digest: Digest, entry: Entry) -> None:
        """Count a use."""
        self.move_to_end(digest)
        now = time.time()
        if not is_within(entry.used, now, USE_GRAIN):
            entry.used = now
            self._database.write_later("UPDATE blobs SET used = ? WHERE digest = ?", now, digest)

    async def write_rows(self, digests: Iterable[Digest], origins: Set[str]) -> None:
        """Write blobs down together, with further origins; those that have gone meanwhile are left out."""
        statements: list[Statement] = []
        for digest in digests:
            entry = self.get(digest)
            if entry is not None:
                entry.origins |= origins
                statements += _rows(digest, entry, origins)
        await self._database.write(statements)

    def write_check(self, digest: Digest, entry: Entry) -> None:
        """Write down when the bytes were last seen to have the digest."""
        row = (digest, entry.changed, entry.checked)
        self._database.write_later("INSERT OR REPLACE INTO checks VALUES (?, ?, ?)", *row)

    def forget_origin(self, digest: Digest, origin: str) -> None:
        """Forget that a blob is from `origin`."""
        self[digest].origins.discard(origin)
        self._database.write_later("DELETE FROM origins WHERE digest = ? AND origin = ?", digest, origin)

    def forget_rows(self, digest: Digest) -> None:
        """Remove the rows of a blob."""
        for table in ("blobs", "origins", "derived", "checks"):
            self._database.write_later(f"DELETE FROM {table} WHERE digest = ?", digest)  # noqa: S608 - constants


def _rows(digest: Digest, entry: Entry, origins: Set[str]) -> Iterator[Statement]:
    yield "INSERT OR IGNORE INTO blobs (digest, size, used) VALUES (?, ?, ?)", (digest, entry.size, entry.used)
    yield "INSERT OR REPLACE INTO checks VALUES (?, ?, ?)", (digest, entry.changed, entry.checked)
    for origin in origins:
        yield "INSERT OR IGNORE INTO origins VALUES (?, ?)", (digest, origin)
    if entry.derived:
        yield "INSERT OR IGNORE INTO derived VALUES (?)", (digest,)
