"""Records that were read a moment ago: a bounded memory, so that a name is not looked up for each part of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from wavelet.cluster.records import Lifetimes, Stored

FRESH = 30.0
"""Seconds for which a record is not read again; as long may another node's eviction stay unseen."""

USE_INTERVAL = 3600.0
"""Seconds within which a further use of a record is not written down again (less where lifetimes are short)."""

KEPT_BYTES = 16 * 1024 * 1024
"""Bytes of all records that are kept, as they are kept; a lock of hundreds of packages has 60,000."""

LARGEST = KEPT_BYTES // 8
"""Bytes of a record above which it is not kept: it would drive out all others."""

_ENTRY_BYTES = 1024
"""What a record costs however small it is."""

_USES_KEPT = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    read_at: float
    stored: Stored
    size: int
    is_frozen: bool


class RecentRecords:
    """A bounded memory of records (the longest unused leaves first), for the event loop's thread.

    A record whose name is not bound is not kept: another node, or this one, may bind it at any moment.

    Attributes:
        lifetimes: of records after their last use; may be set at any time.
        forgotten: how often records were forgotten. What began to be read before is not remembered.
    """

    def __init__(self, lifetimes: Lifetimes, clock: Callable[[], float]) -> None:
        self.lifetimes = lifetimes
        self.forgotten = 0
        self._clock = clock
        self._records: LRUCache[str, _Entry] = LRUCache(KEPT_BYTES, getsizeof=lambda entry: entry.size)
        self._uses: LRUCache[str, float] = LRUCache(_USES_KEPT)

    def get(self, token: str) -> Stored | None:
        """Return a record that is fresh and within its lifetime."""
        entry = self._records.get(token)
        now = self._clock()
        if entry is None or not 0 <= now - entry.read_at < FRESH:
            return None
        return entry.stored if self.lifetimes.after(entry.stored.used_at, frozen=entry.is_frozen) > now else None

    def add(self, token: str, stored: Stored, size: int, since: int) -> None:
        """Remember a record that was just read, of `size` bytes, if it is known what its name answers.

        `since` is what `forgotten` was before it was read: it may have been evicted meanwhile.
        """
        if stored.pin is None or size > LARGEST or since != self.forgotten:
            self._records.pop(token, None)
        else:
            self._records[token] = _Entry(self._clock(), stored, size + _ENTRY_BYTES, stored.record.is_frozen)

    def forget(self, token: str) -> None:
        """Drop all that is known of a token."""
        self.forgotten += 1
        self._records.pop(token, None)
        self._uses.pop(token, None)

    def use_is_due(self, token: str) -> bool:
        """Tell whether a use now is to be written down."""
        interval = min(USE_INTERVAL, self.lifetimes.usual / 24, self.lifetimes.frozen / 24)
        return not 0 <= self._clock() - self._uses.get(token, -interval) < interval

    def used(self, token: str) -> None:
        """Remember that a use is written down."""
        self._uses[token] = self._clock()
