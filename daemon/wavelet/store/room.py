"""Room in the store: how much there is, what stays, and what gives way.

Evicted is what can be put together again (see `entries.py`), then what was used longest ago, and nothing that is held,
leased or pinned (`Retention`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from wavelet.errors import NeverFits, NoSpace
from wavelet.image.reference import Digest
from wavelet.quantities import SKEW, is_ahead
from wavelet.quantities import size as size_of
from wavelet.store.database import Database
from wavelet.store.entries import Entries, Entry
from wavelet.store.files import BlobDirectory, Trash, changed_at, move_aside
from wavelet.store.metrics import EVICTED_BYTES, EVICTIONS, STORE_BYTES
from wavelet.store.pins import Pins

DISK_MARGIN = 64 * 1024 * 1024
"""Bytes of the file system that are left alone, for the databases and the log."""

DIGESTS_SAID = 100
"""Digests of evicted blobs that one line of the log names, at its level debug."""


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
            f"no room for {what}: {size_of(missing)} short, and all other content is leased or pinned, or was pushed"
            " here; raise store.limit, free the disk, or ask again when running pulls have ended"
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


SCHEMA = """
CREATE TABLE IF NOT EXISTS leased (digest TEXT PRIMARY KEY, since REAL, until REAL) WITHOUT ROWID;
DROP TABLE IF EXISTS leases;
CREATE TABLE IF NOT EXISTS last_copies (digest TEXT PRIMARY KEY, at REAL) WITHOUT ROWID;
"""

LAST_COPY_LIFETIME = 2 * 365 * 86400.0
"""Seconds after which the last copy of what cannot be made again is kept no longer, as is the claim that names it."""

LEASE_GRAIN = 60.0
"""Seconds within which a further lease of a blob is not written down again."""


_NEVER = 0.0, 0.0


class Retention:
    """Digests that are safe from eviction, in the store or yet to come. Leases and pins outlive a restart.

    Attributes:
        pins: what is kept for good.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[Digest, tuple[float, float]] = {}
        self._holds: Counter[Digest] = Counter()
        self.pins = Pins(database)
        rows = database.read("SELECT digest, at FROM last_copies")
        self._last_copies: dict[Digest, float] = {Digest(text): at for text, at in rows}
        for text, since, until in database.read("SELECT digest, since, until FROM leased"):
            self._leases[Digest(text)] = since, until
        self.expire()

    def __contains__(self, digest: object) -> bool:
        return digest in self._leases or self.stays(digest)

    def stays(self, digest: object) -> bool:
        """Tell whether a blob is held, pinned or a last copy, so that it stays even when it is named."""
        return digest in self._holds or digest in self.pins or digest in self._last_copies

    async def keep_last_copy(self, *digests: Digest) -> None:
        """Keep blobs that cannot be made again as they are; it counts from now on."""
        now = time.time()
        self._last_copies.update(dict.fromkeys(digests, now))
        sql = "INSERT OR REPLACE INTO last_copies VALUES (?, ?)"
        await self._database.write([(sql, (digest, now)) for digest in digests])

    def lease(self, digests: Iterable[Digest], until: float) -> None:
        """Keep blobs from eviction until a time (seconds since the epoch)."""
        now = time.time()
        for digest in digests:
            known = self._leases.get(digest, _NEVER)
            if until - known[1] > LEASE_GRAIN or not _stands(known, now):
                self._leases[digest] = now, until
                self._database.write_later("INSERT OR REPLACE INTO leased VALUES (?, ?, ?)", digest, now, until)

    def leased_until(self, digest: Digest) -> float | None:
        """Return until when a blob is leased (seconds since the epoch), if it is."""
        lease = self._leases.get(digest, _NEVER)
        return lease[1] if _stands(lease, time.time()) else None

    def expire(self) -> None:
        """Forget leases that have ended, or that a clock which was wrong has begun."""
        now = time.time()
        for digest in [digest for digest, lease in self._leases.items() if not _stands(lease, now)]:
            del self._leases[digest]
        self._database.write_later("DELETE FROM leased WHERE until <= ? OR since > ?", now, now + SKEW)
        kept = {digest: min(at, now) for digest, at in self._last_copies.items() if at > now - LAST_COPY_LIFETIME}
        if kept != self._last_copies:
            self._last_copies = kept
            self._database.write_later("DELETE FROM last_copies WHERE at <= ?", now - LAST_COPY_LIFETIME)
            self._database.write_later("UPDATE last_copies SET at = ? WHERE at > ?", now, now)

    def hold(self, digests: Collection[Digest]) -> None:
        """Keep blobs from eviction until `release` is called as often, or the daemon ends."""
        self._holds.update(iter(digests))

    def release(self, digests: Collection[Digest]) -> None:
        """Give back what `hold` took; others may hold the same blobs."""
        self._holds.subtract(iter(digests))
        for digest in digests:
            if not self._holds[digest]:
                del self._holds[digest]

    @contextlib.contextmanager
    def holding(self, digests: Collection[Digest]) -> Iterator[None]:
        """Hold blobs inside."""
        self.hold(digests)
        try:
            yield
        finally:
            self.release(digests)


def _stands(lease: tuple[float, float], now: float) -> bool:
    since, until = lease
    return until > now and not is_ahead(since, now)


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

    def renew(self, digest: Digest, size: int) -> None:
        """Count a blob whose file has just been put into its place, perhaps over another one."""
        before = self._entries.pop(digest, None)
        if before is not None:
            # Another entry, so that nobody who has looked at the file before it judges this one.
            self.space.committed -= before.size
        self.count(digest, size)
        if before is not None:
            self._entries[digest].origins |= before.origins

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
            log.debug("evicted blobs", digests=digests[:DIGESTS_SAID], more=max(0, len(digests) - DIGESTS_SAID))
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
