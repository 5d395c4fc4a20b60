"""Room for content: how much there is, and what gives way. Pure policy; the content store acts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wavelet.errors import NoSpace
from wavelet.image.digest import Digest
from wavelet.sizes import size as size_of

DISK_MARGIN = 64 * 1024 * 1024
"""Bytes of the file system that are left alone, for the databases and the log."""


@dataclass(frozen=True, slots=True)
class Counted:
    """So many blobs, of so many bytes in all."""

    blobs: int
    size: int


@dataclass(slots=True)
class Space:
    """The account of the store: committed plus reserved bytes stay within the limit.

    Attributes:
        limit: most bytes of blobs.
        committed: bytes of the blobs in place.
        reserved: bytes promised to running fetches.
        arrived: bytes of these that are on the disk already.
    """

    limit: int
    committed: int = 0
    reserved: int = 0
    arrived: int = 0

    def shortage(self, size: int, free: int) -> int:
        """Return how many bytes have to give way before `size` more fit, where the file system has `free` left."""
        over_limit = self.committed + self.reserved + size - self.limit
        over_disk = self.reserved - self.arrived + size + DISK_MARGIN - free
        return max(0, over_limit, over_disk)


def victims(
    eviction_order: Iterable[tuple[Digest, int]], shortage: int, is_kept: Callable[[Digest], bool], what: str
) -> list[Digest]:
    """Choose what to evict: the first of `eviction_order` (see `Entries.eviction_order`), nothing that is kept.

    Raises:
        NoSpace: all that may go is not enough. Nothing should be evicted then.
    """
    gone, missing = chosen(eviction_order, shortage, is_kept)
    if missing > 0:
        raise NoSpace(
            f"no room for {what}: {size_of(missing)} short, and all other content is leased or pinned; "
            "raise store.limit, free the disk, or ask again when running pulls have ended"
        )
    return gone


def chosen(
    eviction_order: Iterable[tuple[Digest, int]], excess: int, is_kept: Callable[[Digest], bool]
) -> tuple[list[Digest], int]:
    """Return the first of `eviction_order` that are not kept, up to `excess` bytes, and how many they lack."""
    gone: list[Digest] = []
    missing = excess
    for digest, size in eviction_order:
        if missing <= 0:
            break
        if not is_kept(digest):
            gone.append(digest)
            missing -= size
    return gone, max(0, missing)
