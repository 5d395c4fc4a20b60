"""Archives that everybody may have: whatever has become of one, a layer is made of the bytes that it should have."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.image.reference import Digest
from wavelet.resolve import archives
from wavelet.resolve.archives import Archives
from wavelet.store import content
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.upstream.credential_sources import Granted

URL = "https://packages.test/lab/linux-64/tool-1.0-0.conda"
DATA = b"an archive" * 100_000
DIGEST = Digest.of(DATA)


class Channel:
    """A channel that has one archive; counts how often that was fetched."""

    def __init__(self) -> None:
        self.fetched = 0

    @contextlib.asynccontextmanager
    async def open(self, url: str, offset: int) -> AsyncIterator[Any]:
        self.fetched += 1

        async def chunks() -> AsyncIterator[bytes]:
            yield DATA[offset:]

        granted = Granted(public=True, by="test")
        yield SimpleNamespace(offset=offset, size=len(DATA), chunks=chunks(), granted=granted)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    database = Database(tmp_path / "node.db", content.SCHEMA + archives.SCHEMA, synchronous="NORMAL")
    opened = ContentStore(tmp_path, database, Settings(store=Store(limit=10**9)))
    yield opened
    await opened.close()
    database.close()


def rot(store: ContentStore) -> None:
    """Change a byte as a disk does: nothing tells that the file was changed, and it was read long ago."""
    path = store._path(DIGEST)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    entry = store._entries[DIGEST]
    entry.changed, entry.lately = path.stat().st_ctime_ns, -math.inf


@pytest.mark.parametrize("by", ["sha256", "md5"])
async def test_a_damaged_archive_is_fetched_again_before_a_layer_is_made_of_it(store: ContentStore, by: str) -> None:
    """Fault G4: what is made of content is made of verified content: archives of packages, sources of scripts."""
    channel = Channel()
    fetcher = Archives(store, channel.open, store._database)

    async def get() -> bytes:
        if by == "sha256":
            return (await fetcher.get(URL, DIGEST, len(DATA))).read_bytes()
        return (await fetcher.download([URL], hashlib.md5(DATA).hexdigest())).path.read_bytes()

    assert await get() == DATA
    assert await get() == DATA
    assert channel.fetched == 1
    rot(store)
    assert await get() == DATA
    assert channel.fetched == 2
