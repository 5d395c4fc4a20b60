"""A set whose members stay for some seconds: servers that have just failed, repositories that have just refused."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import TLRUCache

K = TypeVar("K", bound=Hashable)


class ExpiringSet(Generic[K]):
    """At most `size` members; where one more is added, the one that was asked for least recently leaves."""

    def __init__(self, size: int = 4096) -> None:
        self._until: TLRUCache[K, float] = TLRUCache(size, ttu=lambda _key, until, _: until, timer=_now)

    def add(self, key: K, seconds: float) -> None:
        """Make a key a member, for so long from now on."""
        self._until[key] = time.monotonic() + seconds

    def discard(self, key: K) -> None:
        """Let a key be no member any more."""
        self._until.pop(key, None)

    def clear(self) -> None:
        """Let there be no members."""
        self._until.clear()

    def __contains__(self, key: K) -> bool:
        return key in self._until


def _now() -> float:
    return time.monotonic()  # looked up each time: a test may set the clock after the set was made
