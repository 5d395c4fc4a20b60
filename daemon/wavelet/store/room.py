"""The room of a store: what is counted, what is set aside for what is on its way, and what is evicted for it.

Evicted is what can be put together again (see `entries.py`), then what was used longest ago, and nothing that is held,
leased or pinned (see `retention.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from wavelet.errors import NeverFits
from wavelet.image.digest import Digest
from wavelet.store.blob_directory import BlobDirectory
from wavelet.store.entries import Entries, Entry
from wavelet.store.files import changed_at, move_aside
from wavelet.store.metrics import EVICTED_BYTES, EVICTIONS, STORE_BYTES
from wavelet.store.retention import Retention
from wavelet.store.space import Counted, Space, chosen, victims
from wavelet.store.trash import Trash

log = structlog.get_logger()

TRASH_WAIT = 30.0
"""Seconds that a reservation without room waits for what is being removed, before it evicts."""


class Room:
    """The room of one store. All methods are called in the loop's thread.

    Attributes:
        space: the account.
    """

    def __init__(
        self,
        space: Space,
        entries: Entries,
        retention: Retention,
        directory: BlobDirectory,
        trash: Trash,
        *,
        give_way: Callable[[], None],
    ) -> None:
        """`give_way` has removed what gives way before any blob does."""
        self.space = space
        self._entries = entries
        self._retention = retention
        self._directory = directory
        self._trash = trash
        self._give_way = give_way
        self._making = asyncio.Lock()
        self._doomed: list[Path] = []

    # -- setting aside ------------------------------------------------------------------------------------------------

    async def reserve(self, size: int, what: str) -> None:
        """Set `size` bytes aside, evicting what has to go.

        Raises:
            NeverFits: it is larger than the limit.
            NoSpace: not even eviction makes that much room.
        """
        if size > self.space.limit:
            raise NeverFits(
                f"no room for {what}: {size} bytes can never fit into a store of {self.space.limit} bytes; raise"
                " store.limit"
            )
        async with self._making:
            if await self._shortage(size):
                self._give_way()
            if await self._shortage(size) and not self._trash.is_empty:
                await asyncio.to_thread(self._trash.wait, TRASH_WAIT)
                await asyncio.sleep(0)  # what has become free is counted in the loop
            if shortage := await self._shortage(size):
                self._retention.expire()
                await self._evict(victims(self._entries.eviction_order(), shortage, self._retention.__contains__, what))
            self.space.reserved += size

    async def _shortage(self, size: int) -> int:
        return self.space.shortage(size, await asyncio.to_thread(self._directory.free))

    def arrive(self, size: int) -> None:
        """Count bytes that a running fetch has written."""
        self.space.arrived += size

    def release(self, size: int, arrived: int = 0) -> None:
        """Give back what `reserve` set aside, of which so much has arrived."""
        self.space.reserved -= size
        self.space.arrived -= arrived

    # -- what is in place ---------------------------------------------------------------------------------------------

    def count_all(self) -> None:
        """Count what was in place when the store was opened."""
        self.space.committed = sum(entry.size for entry in self._entries.values())
        STORE_BYTES.set(self.space.committed)

    def count(self, digest: Digest, size: int) -> None:
        """Count a blob that has been put into its place, if it is not counted yet."""
        if digest not in self._entries:
            entry = self._entries[digest] = Entry(size, time.time())
            entry.hold_good(changed_at(self._directory.path_of(digest), size) or 0)
            self.space.committed += size
            STORE_BYTES.set(self.space.committed)

    def drop(self, digest: Digest) -> None:
        """Count a blob no longer, for its file has gone."""
        self.space.committed -= self._entries.pop(digest).size
        STORE_BYTES.set(self.space.committed)
        self._entries.forget_rows(digest)

    # -- evicting -----------------------------------------------------------------------------------------------------

    async def evict(self, digests: Iterable[Digest]) -> Counted:
        """Remove blobs now, leased or not, but for what is held or pinned; readers that have them open keep theirs."""
        async with self._making:
            mine = [each for each in dict.fromkeys(digests) if each in self._entries]
            return await self._evict([each for each in mine if not self._retention.stays(each)])

    async def shrink(self, keep: int) -> Counted:
        """Remove the least recently used until `keep` bytes are left, or only what is held, leased or pinned."""
        async with self._making:
            self._retention.expire()
            excess = self.space.committed - keep
            return await self._evict(chosen(self._entries.eviction_order(), excess, self._retention.__contains__)[0])

    async def _evict(self, digests: list[Digest]) -> Counted:
        gone = Counted(len(digests), sum(self._entries[digest].size for digest in digests))
        EVICTIONS.inc(gone.blobs)
        EVICTED_BYTES.inc(gone.size)
        await self.remove(digests)
        if digests:
            log.info("evicted", blobs=len(digests), committed=self.space.committed, limit=self.space.limit)
        return gone

    async def remove(self, digests: list[Digest]) -> None:
        """Remove blobs, whatever holds them."""
        for digest in digests:
            self.drop(digest)
            # Renamed at once, so that a new fetch of the same blob is never hit by the slow removal of the old one.
            doomed = self._directory.new_aside()
            move_aside(self._directory.path_of(digest), doomed)
            self._doomed.append(doomed)
        while self._doomed:
            await asyncio.to_thread(self._doomed.pop().unlink, missing_ok=True)
