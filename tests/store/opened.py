"""A store that can be closed and opened again, and sources whose bytes come when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.image.reference import Digest
from wavelet.store import scrub
from wavelet.store.content import SCHEMA, ContentStore
from wavelet.store.database import Database
from wavelet.store.ingest import Incoming, PartialBlob

ORIGIN = "quay.io/a/b"
LIMIT = 256 * 1024 * 1024


class Source:
    """Bytes that come as the test sends them. Counts how often it was opened."""

    def __init__(self, size: int | None = None, *, public: bool = False) -> None:
        self.size = size
        self.public = public
        self.opened = 0
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    @classmethod
    def of(cls, *chunks: bytes, size: int | None = None, public: bool = False) -> Source:
        """Return a source that has sent all its bytes already."""
        source = cls(size, public=public)
        for chunk in chunks:
            source.send(chunk)
        source.end()
        return source

    def send(self, chunk: bytes) -> None:
        """Let bytes come."""
        self._chunks.put_nowait(chunk)

    def end(self, error: Exception | None = None) -> None:
        """End the bytes, in good order or by an error."""
        self._chunks.put_nowait(error)

    @contextlib.asynccontextmanager
    async def __call__(self, offset: int) -> AsyncIterator[Incoming]:
        assert offset == 0
        self.opened += 1

        async def chunks() -> AsyncIterator[bytes]:
            while (chunk := await self._chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        yield Incoming(0, self.size, chunks(), public=self.public)


class Opened(ContentStore):
    """A store, and what the tests want of it besides."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory = directory
        self.database = Database(directory / "node.db", SCHEMA + scrub.SCHEMA, synchronous="NORMAL")
        super().__init__(directory, self.database, Settings(store=Store(limit=limit)))

    async def shut(self) -> None:
        await self.close()
        self.database.close()

    async def keep(self, data: bytes, origin: str = ORIGIN, *, public: bool = False) -> Digest:
        digest = Digest.of(data)
        await self.add(data, digest, origin, public=public)
        return digest

    async def fetch(self, source: Source, data: bytes, size: int | None, origin: str = ORIGIN) -> PartialBlob:
        return await self.ingest(Digest.of(data), size, origin, source)

    def has(self, digest: Digest, origin: str = ORIGIN) -> bool:
        return self.find(digest, origin) is not None

    def blobs(self) -> set[str]:
        return {path.name for path in (self.directory / "blobs").glob("*/*/*")}

    async def tidied(self) -> None:
        """Wait until what was to be removed is."""
        assert await asyncio.to_thread(self._trash.wait, 20)
        await asyncio.sleep(0)

    def partials(self) -> list[Path]:
        return list((self.directory / "partial").iterdir())

    def account(self) -> tuple[int, int]:
        assert 0 <= self.room.space.arrived <= self.room.space.reserved
        return self.room.space.committed, self.room.space.reserved
