"""The pins: what is kept from eviction for good, images with all that belongs to them, and single blobs.

A pin is of an image under a name, and has the digests of all its members, in the store or yet to come. So content that
several pinned images share stays until the last of them is unpinned. A blob pinned alone is an image of itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from wavelet.image.reference import Digest
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS kept_names (
    name TEXT, image TEXT, digest TEXT, size INTEGER, PRIMARY KEY (name, image, digest)
)
WITHOUT ROWID;
"""

Pinned = tuple[str, Digest]
"""A name (empty for what was pinned by digest) and the digest of an image's manifest, or of a blob."""


class Pins:
    """The pins of one store; they survive a restart."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._members: dict[Pinned, dict[Digest, int]] = {}
        for name, image, digest, size in database.read("SELECT name, image, digest, size FROM kept_names"):
            self._members.setdefault((name, Digest(image)), {})[Digest(digest)] = size
        self._digests: set[Digest] = set()
        self._count()

    def __contains__(self, digest: object) -> bool:
        return digest in self._digests

    def __iter__(self) -> Iterator[tuple[Pinned, Mapping[Digest, int]]]:
        """Yield what is pinned, with the sizes in bytes of its members."""
        yield from self._members.items()

    async def add(self, pinned: Pinned, members: Mapping[Digest, int]) -> None:
        """Pin an image whose members have these sizes, in bytes."""
        self._members[pinned] = self._members.get(pinned, {}) | dict(members)
        self._count()
        rows = [(*pinned, digest, size) for digest, size in members.items()]
        await self._database.write([("INSERT OR REPLACE INTO kept_names VALUES (?, ?, ?, ?)", row) for row in rows])

    async def remove(self, pinned: Collection[Pinned]) -> None:
        """Pin these no longer."""
        for each in pinned:
            self._members.pop(each, None)
        self._count()
        await self._database.write([("DELETE FROM kept_names WHERE name = ? AND image = ?", each) for each in pinned])

    def _count(self) -> None:
        self._digests = {digest for members in self._members.values() for digest in members}
