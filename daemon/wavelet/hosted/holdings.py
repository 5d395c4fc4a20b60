"""The account of what hosted repositories hold: each digest once, however many repositories have it.

What they hold is held in the store, by the same holds that running work has there, so that it is not evicted.
"""

from __future__ import annotations

from collections.abc import Callable

from wavelet.hosted.metrics import HOSTED_BYTES
from wavelet.hosted.policy import check_room
from wavelet.image.reference import Digest
from wavelet.store.room import Retention


class Holdings:
    """See the module. For the loop's thread."""

    def __init__(self, retention: Retention, limit: Callable[[], int]) -> None:
        """`limit` returns the most bytes, as of now."""
        self._retention = retention
        self._limit = limit
        self._holders: dict[Digest, int] = {}
        self._size = 0
        self._arriving = 0

    @property
    def size(self) -> int:
        """Bytes of what is held."""
        return self._size

    @property
    def limit(self) -> int:
        """Most bytes of it."""
        return self._limit()

    def __contains__(self, digest: object) -> bool:
        return digest in self._holders

    def check(self, digest: Digest, size: int) -> None:
        """Return if a repository may have some content.

        Raises:
            NoSpace: the limit is reached.
        """
        if digest not in self._holders:
            check_room(self._size + self._arriving + size, self.limit)

    def arrive(self, size: int) -> None:
        """Count bytes that come now.

        Raises:
            NoSpace: the limit is reached.
        """
        check_room(self._size + self._arriving + size, self.limit)
        self._arriving += size

    def leave(self, size: int) -> None:
        """Count bytes no longer that have come: they are kept, or dropped."""
        self._arriving -= size

    def add(self, digest: Digest, size: int) -> None:
        """Hold content for one repository more."""
        if digest not in self._holders:
            self._retention.hold([digest])
            self._count(size)
        self._holders[digest] = self._holders.get(digest, 0) + 1

    def remove(self, digest: Digest, size: int) -> bool:
        """Hold it for one less; return whether that was the last one."""
        self._holders[digest] -= 1
        if self._holders[digest]:
            return False
        del self._holders[digest]
        self._retention.release([digest])
        self._count(-size)
        return True

    def _count(self, size: int) -> None:
        self._size += size
        HOSTED_BYTES.set(self._size)
