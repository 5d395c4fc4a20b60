"""Content that somebody has put into the store, instead of having it fetched or made: nothing else has its bytes.

Whoever keeps it holds it (`Retention.hold`) for as long as it is to stay, and gives each of its origins back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Protocol

from wavelet.image.reference import Digest
from wavelet.store.entries import Entries, HotBytes
from wavelet.store.files import BlobDirectory, move_into_place
from wavelet.store.ingest import PartialBlob
from wavelet.store.room import Counted, Room
from wavelet.store.upload import Upload


class Opens(Protocol):
    """See `wavelet.store.content.ContentStore.open`."""

    def __call__(self, digest: Digest, origin: str) -> Awaitable[object]:
        """Return the blob, if it is there for that origin."""


class OwnedContent:
    """That of one store. All methods are called in the loop's thread."""

    def __init__(self, entries: Entries, hot: HotBytes, room: Room, directory: BlobDirectory, open_blob: Opens) -> None:
        self._entries = entries
        self._hot = hot
        self._room = room
        self._directory = directory
        self._open = open_blob

    def begin(self) -> Upload:
        """Begin to take content that comes in pieces and whose digest is said at its end: see `take`.

        Raises:
            OSError: no file can be made for it.
        """
        return Upload(self._room, self._directory.new_aside())

    async def take(self, upload: Upload, digest: Digest, origin: str) -> None:
        """Put what was uploaded into its place; whoever calls has compared it with its digest, and holds that.

        It takes the place of a file that is there, whose bytes nobody has looked at just now.
        """
        await asyncio.to_thread(move_into_place, upload.path, self._directory.path_of(digest))
        self._room.renew(digest, upload.size)
        upload.drop()
        await self._entries.write_rows([digest], {origin})

    async def lend(self, digest: Digest, origin: str, other: str) -> bool:
        """Note that the bytes of a blob in place, which are from `origin`, are from `other` too; tell whether it is."""
        blob = await self._open(digest, origin)
        if blob is None or isinstance(blob, PartialBlob):
            return False
        await self._entries.write_rows([digest], {other})
        return True

    async def disown(self, digests: Iterable[Digest], origin: str) -> Counted:
        """Forget that blobs are from `origin`; those that are from nowhere else go at once, unless they are held."""
        mine = [digest for digest in digests if digest in self._entries]
        for digest in mine:
            self._entries.forget_origin(digest, origin)
            self._hot.drop(digest, origin)
        return await self._room.evict([digest for digest in mine if not self._entries[digest].origins])
