"""Records that were read a moment ago, and when their uses were last written down: what saves a keeper its I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from wavelet.cluster.records import Stored

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


class Recent:
    """A bounded memory of records (the longest unused leaves first), for the event loop's thread.

    A record whose name is not bound is not kept: another node, or this one, may bind it at any moment.

    Attributes:
        lifetime: seconds that a record is kept after its last use; may be set at any time.
        forgotten: how often records were forgotten. What began to be read before is not remembered.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self.forgotten = 0
        self._clock = clock
        self._records: OrderedDict[str, tuple[float, Stored, int]] = OrderedDict()
        self._bytes = 0
        self._uses: OrderedDict[str, float] = OrderedDict()

    def get(self, token: str) -> Stored | None:
        """Return a record that is fresh and within its lifetime."""
        read_at, stored, _ = self._records.get(token, (0.0, None, 0))
        now = self._clock()
        if stored is None or not 0 <= now - read_at < FRESH or stored.used_at + self.lifetime <= now:
            return None
        self._records.move_to_end(token)
        return stored

    def add(self, token: str, stored: Stored, size: int, since: int) -> None:
        """Remember a record that was just read, of `size` bytes, if it is known what its name answers.

        `since` is what `forgotten` was before it was read: it may have been evicted meanwhile.
        """
        self._drop(token)
        if stored.pin is None or size > LARGEST or since != self.forgotten:
            return
        self._records[token] = (self._clock(), stored, size + _ENTRY_BYTES)
        self._bytes += size + _ENTRY_BYTES
        while self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._records)))

    def forget(self, token: str) -> None:
        """Drop all that is known of a token."""
        self.forgotten += 1
        self._drop(token)
        self._uses.pop(token, None)

    def _drop(self, token: str) -> None:
        _, _, size = self._records.pop(token, (0.0, None, 0))
        self._bytes -= size

    def use_is_due(self, token: str) -> bool:
        """Tell whether a use now is to be written down."""
        interval = min(USE_INTERVAL, self.lifetime / 24)
        return not 0 <= self._clock() - self._uses.get(token, -interval) < interval

    def used(self, token: str) -> None:
        """Remember that a use is written down."""
        self._uses[token] = self._clock()
        self._uses.move_to_end(token)
        if len(self._uses) > _USES_KEPT:
            self._uses.popitem(last=False)
