"""Records that were read a moment ago, and when their uses were last written down: what saves a keeper its I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from wavelet.cluster.records import Stored

FRESH = 30.0
"""Seconds for which a record is not read again; as long may another node's eviction stay unseen."""

USE_INTERVAL = 3600.0
"""Seconds within which a further use of a record is not written down again (less where lifetimes are short)."""

_KEPT = 512
_KEPT_BYTES = 16 * 1024
_USES_KEPT = 4096


class Recent:
    """A bounded memory of records (the longest unused leaves first), for the event loop's thread.

    Attributes:
        lifetime: seconds that a record is kept after its last use; may be set at any time.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._records: OrderedDict[str, tuple[float, Stored]] = OrderedDict()
        self._uses: OrderedDict[str, float] = OrderedDict()

    def get(self, token: str) -> Stored | None:
        """Return a record that is fresh and within its lifetime."""
        read_at, stored = self._records.get(token, (0.0, None))
        now = self._clock()
        if stored is None or not 0 <= now - read_at < FRESH or stored.used_at + self.lifetime <= now:
            return None
        self._records.move_to_end(token)
        return stored

    def add(self, token: str, stored: Stored, size: int) -> None:
        """Remember a record that was just read, if its `size` in bytes is modest."""
        if size <= _KEPT_BYTES:
            self._records[token] = (self._clock(), stored)
            self._records.move_to_end(token)
            if len(self._records) > _KEPT:
                self._records.popitem(last=False)

    def forget(self, token: str) -> None:
        """Drop all that is known of a token."""
        self._records.pop(token, None)
        self._uses.pop(token, None)

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
