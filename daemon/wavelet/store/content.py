"""The content store: verified blobs on disk, by digest, each with the origins that its bytes are known to have had.

Life of a blob: `ingest` starts one detached fetch and gives a `PartialBlob` to everybody who asks meanwhile. Bytes are
written aside and hashed while they stream; size and digest are compared; readers get the last bytes; the file is
fsynced, renamed into place and its directory fsynced; only then the blob is `Committed`. Partial files are dropped at
start. A blob leaves by eviction, which takes the least recently used first and nothing that is held, leased or pinned;
or because its bytes no longer have its digest (see `integrity.py`): whoever asks then gets it from its source again.
Small content that can be fetched again may be written without fsync (`add_small`): that look finds what a crash left.

Holding bytes is not being allowed to hand them out: `find` gives a blob only for an origin that has delivered these
very bytes, or if they are public. A digest that somebody merely names opens nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from wavelet.config import Apply, Settings
from wavelet.errors import NoSpace, OurError, UpstreamBroken, WaveletError
from wavelet.image.reference import Digest
from wavelet.store import entries, pins, room
from wavelet.store.database import Database
from wavelet.store.entries import Entries, HotBytes, Origins
from wavelet.store.files import (
    BlobDirectory,
    Trash,
    changed_at,
    create,
    make_private,
    move_into_place,
    write_into_place,
)
from wavelet.store.ingest import PUBLIC, Incoming, Ingest, Opener, PartialBlob
from wavelet.store.integrity import SMALL, Integrity, needs_comparison
from wavelet.store.limit import limit_of
from wavelet.store.owned import OwnedContent
from wavelet.store.room import Retention, Room, Space
from wavelet.store.trees import Trees

SCHEMA = entries.SCHEMA + room.SCHEMA + pins.SCHEMA


@dataclass(frozen=True, slots=True)
class Committed:
    """A verified blob in place."""

    digest: Digest
    size: int
    path: Path


Blob = Committed | PartialBlob


class ContentStore:
    """See the module. One per state directory; all methods are called in the loop's thread.

    Attributes:
        room: how much there is, and what gives way.
        retention: what may not be evicted.
        trees: directories that are made of blobs.
        integrity: whether the bytes on disk are what they should be.
        owned: what somebody has put here.
    """

    def __init__(
        self, directory: Path, database: Database, settings: Settings, kept: Origins = MappingProxyType({})
    ) -> None:
        """Take over `directory`; forget partial files, and files that nothing says anything of.

        `kept` are blobs that are known from elsewhere, each with its origins: their files stay whatever it knows.
        """
        self._limit_setting: str | int | None = None
        self._directory = BlobDirectory(directory)
        self._path = self._directory.path_of
        self._trash = Trash(directory / "trash")
        self._database = database
        self._entries = Entries(database)
        self._fetching: dict[tuple[Digest, str], PartialBlob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hot = HotBytes()
        self.retention = Retention(database)
        self.room = Room(
            Space(0), self._entries, self.retention, self._directory, self._trash, give_way=self._drop_trees
        )
        self.integrity = Integrity(self._entries, self._path, self.room.remove)
        self.trees = Trees(directory / "trees", self._trash, self.room.reserve, self.room.release)
        self.owned = OwnedContent(self._entries, self._hot, self.room, self._directory, self.open)
        self._load(kept)
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the most bytes of blobs; what is over it goes when room is needed next.

        A limit that follows the disk stays as it was found, until the setting changes.
        """
        setting = settings.store.limit
        limit = self.limit if setting == self._limit_setting else limit_of(setting, self._directory.aside, self.size)

        def apply() -> None:
            self.room.space.limit, self._limit_setting = limit, setting

        return apply

    def _drop_trees(self) -> None:
        self.trees.drop()

    def _load(self, kept: Origins) -> None:
        for path in list(self._directory.strays()):
            self._trash.discard(path)
        on_disk = self._directory.found()
        self._entries.load(on_disk.keys())
        for digest in kept.keys() & on_disk.keys():
            self._entries.restore(digest, on_disk[digest].lstat().st_size, kept[digest])
        self.room.count_all()
        for orphan in on_disk.keys() - self._entries.keys():
            self._trash.discard(on_disk[orphan])

    @property
    def size(self) -> int:
        """Bytes of all blobs in place."""
        return self.room.space.committed

    @property
    def limit(self) -> int:
        """Most bytes of blobs."""
        return self.room.space.limit

    @property
    def reserved(self) -> int:
        """Bytes set aside for what is on its way."""
        return self.room.space.reserved

    async def free(self) -> int:
        """Return how many bytes are free on the file system."""
        return await asyncio.to_thread(self._directory.free)

    async def check(self) -> None:
        """Return if content can be written here.

        Raises:
            OurError: it cannot, and why.
        """
        try:
            await asyncio.to_thread(self._directory.check)
        except OSError as error:
            raise OurError(f"the state directory cannot be used: {error.strerror} ({error.filename})") from None

    def listing(self) -> list[tuple[Digest, int, float]]:
        """Return the blobs in place with their bytes and last use (seconds since the epoch), the last used first."""
        return [(digest, entry.size, entry.used) for digest, entry in reversed(self._entries.items())]

    def size_of(self, digest: Digest) -> int:
        """Return the bytes of a blob in place, wherever it came from; 0 if it is not here."""
        entry = self._entries.get(digest)
        return 0 if entry is None else entry.size

    @property
    def fetching(self) -> bool:
        """True while content is on its way into the store."""
        return bool(self._fetching)

    # -- reading ------------------------------------------------------------------------------------------------------

    def find(self, digest: Digest, origin: str) -> Blob | None:
        """Return the blob if these bytes are known to come from `origin` or to be public; a running fetch counts.

        Whoever reads the bytes calls `open` instead.
        """
        return self._look(digest, origin)[0]

    def _look(self, digest: Digest, origin: str) -> tuple[Blob | None, int]:
        """Return the blob, and when its file was last changed if it is in place."""
        entry = self._entries.get(digest)
        if entry is not None and (PUBLIC in entry.origins or origin in entry.origins):
            path = self._path(digest)
            changed = changed_at(path, entry.size)
            if changed is not None:
                self._entries.use(digest, entry)
                return Committed(digest, entry.size, path), changed
            self.room.drop(digest)
        return self._fetching.get((digest, origin)), 0

    async def open(self, digest: Digest, origin: str, *, thorough: bool = False) -> Blob | None:
        """Return the blob as `find` does, but not one that is damaged: that is taken out, as if it had never come.

        `thorough` is for those who make something new of it; see `needs_comparison`. Nothing is awaited between the
        last look at the file and the return, so that a caller who opens it at once opens what was looked at.
        """
        while True:
            blob, changed = self._look(digest, origin)
            if not isinstance(blob, Committed):
                return blob
            if not needs_comparison(self._entries[digest], changed, thorough=thorough):
                self.integrity.handed_out(digest)
                return blob
            await self.integrity.compare(digest)

    async def read(self, digest: Digest, origin: str) -> bytes | None:
        """Return small content whole, verified, waiting for a running fetch; None if it is not here, or is damaged.

        Raises:
            WaveletError: the running fetch has failed.
        """
        hot = self._hot.get(digest, origin)
        if hot is not None:
            return hot
        blob = await self.open(digest, origin)
        if isinstance(blob, PartialBlob):
            await blob.wait_committed()
            blob = await self.open(digest, origin)
        if not isinstance(blob, Committed):
            return None
        try:
            data, good = await asyncio.to_thread(_read_and_compare, blob)
        except FileNotFoundError:  # evicted a moment ago
            return None
        if not good:
            await self.integrity.take_out(digest, "use")
            return None
        self._hot.put(digest, origin, data)
        return data

    # -- writing ------------------------------------------------------------------------------------------------------

    async def ingest(
        self,
        digest: Digest,
        size: int | None,
        origin: str,
        opener: Opener,
        blame: Callable[[str], WaveletError] = UpstreamBroken,
    ) -> PartialBlob:
        """Start to fetch a blob, or join the fetch that runs. The fetch belongs to no caller; only `close` ends it.

        `blame` makes the error for bytes that are not what they should be.

        Raises:
            NoSpace: no room can be made for `size`.
        """
        running = self._fetching.get((digest, origin))
        if running is not None:
            return running
        path = self._directory.new_aside()
        fd = create(path)
        partial = PartialBlob(digest, size, fd)
        self._fetching[digest, origin] = partial
        job = Ingest(self.room, self, partial, path, fd, origin, opener, blame)
        task = asyncio.create_task(job.run(), name=f"fetch {digest}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return partial

    async def add(self, data: bytes, digest: Digest, origin: str, *, public: bool = False) -> None:
        """Keep small content that is whole already.

        Raises:
            NoSpace: as `ingest`.
        """

        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            async def chunks() -> AsyncIterator[bytes]:
                yield data[offset:]

            yield Incoming(offset, len(data), chunks(), public=public)

        if not isinstance(self.find(digest, origin), Committed):
            await (await self.ingest(digest, len(data), origin, opener)).wait_committed()

    async def add_small(self, contents: Mapping[Digest, bytes], origin: str, *, public: bool = False) -> None:
        """Keep verified small content that can be fetched again, much of it at a time, without waiting for the disk.

        A crash of the machine may take it, or leave something else in its place. That is noticed when it is opened,
        since all small content is compared with its digest then.

        Raises:
            NoSpace: as `ingest`.
            OSError: the disk does not take it.
            ValueError: some of it is not small.
        """
        if any(len(data) > SMALL for data in contents.values()):
            raise ValueError(f"content of more than {SMALL} bytes is written durably")
        new = {digest: data for digest, data in contents.items() if digest not in self._entries}
        size = sum(map(len, new.values()))
        await self.room.reserve(size, f"{len(new)} small blobs ({size} bytes)")
        try:
            files = {self._path(digest): data for digest, data in new.items()}
            await asyncio.to_thread(write_into_place, self._directory.aside, files)
        finally:
            self.room.release(size)
        for digest, data in new.items():
            self.room.count(digest, len(data))
        await self._entries.write_rows(new, {PUBLIC, origin} if public else {origin})

    async def commit(self, partial: PartialBlob, path: Path, origins: set[str], reserved: int) -> None:
        """Put a verified partial file into place and write its row; from then on it counts, no longer as reserved."""
        assert partial.size is not None
        try:
            await self._place(partial.digest, partial.size, path)
        finally:
            self.room.release(reserved, partial.size)
        await self._write_row(partial.digest, origins)

    async def _place(self, digest: Digest, size: int, path: Path) -> None:
        if digest not in self._entries:
            await asyncio.to_thread(move_into_place, path, self._path(digest))
        self.room.count(digest, size)

    async def _write_row(self, digest: Digest, origins: set[str], *, derived: bool = False) -> None:
        entry = self._entries.get(digest)
        if entry is not None:  # else evicted at once, for there is no room
            entry.derived |= derived
            await self._entries.write_rows([digest], origins)

    @contextlib.asynccontextmanager
    async def scratch(self, size: int, what: str) -> AsyncIterator[Path]:
        """Give an empty directory beside the blobs, with `size` bytes set aside.

        At the end it is gone from its place; until what is in it has been removed, its bytes count.

        Raises:
            NoSpace: no room can be made.
        """
        await self.room.reserve(size, what)
        directory = self._directory.new_aside()
        try:
            await asyncio.to_thread(make_private, directory)
            yield directory
        finally:
            self._trash.discard(directory, lambda: self.room.release(size))

    async def adopt(
        self, file: Path, digest: Digest, size: int, origin: str, *, derived: bool = False, public: bool = False
    ) -> None:
        """Take a finished file of a scratch directory into the store.

        Whoever wrote it has hashed it while writing. `derived` content can be put together again from other content,
        and is evicted before it.
        """
        await self._place(digest, size, file)
        await self._write_row(digest, {PUBLIC, origin} if public else {origin}, derived=derived)

    def finish(self, partial: PartialBlob, origin: str) -> None:
        """Take a fetch off the list of running ones."""
        self._fetching.pop((partial.digest, origin), None)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def lease(self, digests: Iterable[Digest], until: float) -> None:
        """See `Retention.lease`."""
        self.retention.lease(digests, until)

    async def close(self) -> None:
        """End running fetches; what they have written is dropped at the next start."""
        self.integrity.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._trash.close()


def _read_and_compare(blob: Committed) -> tuple[bytes, bool]:
    data = blob.path.read_bytes()
    return data, Digest.of(data, blob.digest.algorithm) == blob.digest


async def in_place(store: ContentStore, blob: Blob | None, origin: str, what: str) -> Committed:
    """Return a blob once it is in its place: at once, or after the fetch that runs.

    Args:
        store: has the blob.
        blob: what the store, or a fetch into it, has given; None if there is nothing.
        origin: of the blob, as the store knows it.
        what: the blob, in the words of the error.

    Raises:
        WaveletError: the fetch has failed.
        NoSpace: it is not there any more.
    """
    if isinstance(blob, PartialBlob):
        await blob.wait_committed()
        # Nothing is awaited between this look and the return: a caller who goes on at once finds what was looked at.
        blob = store.find(blob.digest, origin)
    if not isinstance(blob, Committed):
        raise evicted(what)
    return blob


def evicted(what: str) -> NoSpace:
    """Return the error of content that had to give way while it was wanted."""
    return NoSpace(f"{what} was evicted before it could be used; the store is too small for what is asked of it")
