"""The sources of content: asked in their order, each for what it has; a further one is one more entry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.errors import BlobNotFound, Internal, UpstreamUnreachable, WaveletError
from wavelet.image.image import MANIFEST_LIMIT, Content, Descriptor, FromUpstream, MadeBy
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.resolve.content_sources import ContentSource, ContentSources, MakingSource, StoreSource
from wavelet.store.content import SCHEMA, Blob, Committed, ContentStore
from wavelet.store.database import Database

DATA = b"some bytes"
NOBODY = Identity(None)
FETCHED = FromUpstream(Repository("quay.io", "a/b"))
MADE = MadeBy("key")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    made = ContentStore(tmp_path, database, Settings(store=Store(limit=10**9)))
    yield made
    await made.close()
    database.close()


def content(source: FromUpstream | MadeBy = FETCHED, size: int = len(DATA)) -> Content:
    return Content(Descriptor("application/json", Digest.of(DATA), size), source)


class Place:
    """A source that has content, has none, or fails; it counts how often it was asked."""

    def __init__(self, store: ContentStore, *, has: bool = False, error: WaveletError | None = None) -> None:
        self.asked = 0
        self._store = store
        self._has = has
        self._error = error

    async def open(self, content: Content, identity: Identity, *, thorough: bool) -> Blob | None:
        self.asked += 1
        if self._error is not None:
            raise self._error
        if not self._has:
            return None
        await self._store.add(DATA, content.descriptor.digest, content.source.origin)
        return await self._store.open(content.descriptor.digest, content.source.origin)


def sources(store: ContentStore, *places: ContentSource) -> ContentSources:
    return ContentSources(store, (StoreSource(store), *places))


async def test_the_first_that_has_it_is_the_last_that_is_asked(store: ContentStore) -> None:
    peer, parent, origin = Place(store), Place(store, has=True), Place(store, has=True)
    opened = sources(store, peer, parent, origin)
    for _ in range(2):
        assert isinstance(await opened.open(content(), NOBODY), Committed)
        assert await opened.read(content(), NOBODY) == DATA
    assert (peer.asked, parent.asked, origin.asked) == (1, 1, 0), "then the store has it"


async def test_the_place_for_it_says_why_it_cannot_be_had(store: ContentStore) -> None:
    origin, later = Place(store, error=UpstreamUnreachable("nobody answers")), Place(store, has=True)
    with pytest.raises(UpstreamUnreachable):
        await sources(store, origin, later).open(content(), NOBODY)
    assert later.asked == 0


async def test_what_no_place_has_is_not_there(store: ContentStore) -> None:
    with pytest.raises(BlobNotFound, match="no source"):
        await sources(store, Place(store)).open(content(), NOBODY)


async def test_what_was_made_is_made_again(store: ContentStore) -> None:
    made: list[str] = []

    async def make_again(wanted: Content, key: str, identity: Identity) -> None:
        assert wanted == content(MADE)
        made.append(key)
        await store.add(DATA, Digest.of(DATA), MADE.origin)

    opened = sources(store, MakingSource(store, make_again))
    assert (await opened.open_committed(content(MADE), NOBODY)).path.read_bytes() == DATA
    await store.room.evict([Digest.of(DATA)])
    assert await opened.read(content(MADE), NOBODY) == DATA
    assert made == ["key", "key"]
    await store.room.evict([Digest.of(DATA)])
    with pytest.raises(BlobNotFound):
        await opened.open(content(FETCHED), NOBODY)
    assert len(made) == 2, "what was fetched is not made"


async def test_a_making_that_does_not_give_it_is_a_defect(store: ContentStore) -> None:
    async def make_nothing(wanted: Content, key: str, identity: Identity) -> None:
        return None

    with pytest.raises(Internal, match="making key again"):
        await sources(store, MakingSource(store, make_nothing)).open(content(MADE), NOBODY)


async def test_a_document_has_its_limit(store: ContentStore) -> None:
    with pytest.raises(BlobNotFound, match="too large for a document"):
        await sources(store).read(content(size=MANIFEST_LIMIT + 1), NOBODY)
