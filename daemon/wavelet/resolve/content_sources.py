"""The sources of content: one ordered list of places where the bytes of an image's parts may come from.

The store is the first, making it again the last. A place between them (another node, a site's parent) is one more
entry of the list: it has one method, and says nothing about content that it does not have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from wavelet.errors import BlobNotFound, Internal
from wavelet.image.image import MANIFEST_LIMIT, Content, FromUpstream, Joined, MadeBy, Source
from wavelet.plan.tokens import Identity
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.job import account
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.metrics import CONTENT, LOCATION
from wavelet.store.content import Blob, Committed, ContentStore, evicted, in_place
from wavelet.store.ingest import PartialBlob
from wavelet.upstream.transport import label_of

MADE_DOCUMENT_LIMIT = 256 * 1024 * 1024
"""Bytes of a document that was made here: that of a package's layer names each of its files."""


class ContentSource(Protocol):
    """A place where content comes from."""

    async def open(self, content: Content, identity: Identity, *, thorough: bool) -> Blob | None:
        """Return content, in the store or on its way there; None where this is not the place for it.

        Args:
            content: a member of an image's closure.
            identity: who asks for it; known to be entitled to the image.
            thorough: whether something new is made of it; see the store's `open`.

        Raises:
            WaveletError: this is the place for it, and it cannot be had.
        """


class StoreSource:
    """What is in the store already, undamaged, or on its way there."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store

    async def open(self, content: Content, identity: Identity, *, thorough: bool) -> Blob | None:
        """See `ContentSource`."""
        blob = await self._store.open(content.descriptor.digest, content.source.origin, thorough=thorough)
        if blob is not None:
            _count(content.source, "hit" if isinstance(blob, Committed) else "joined")
        if isinstance(blob, PartialBlob):
            account().take_in(blob)
        return blob


class OriginSource:
    """The registry that content is from, or the location that the request names for it."""

    def __init__(self, fetcher: BlobFetcher) -> None:
        self._fetcher = fetcher

    async def open(self, content: Content, identity: Identity, *, thorough: bool) -> Blob | None:
        """See `ContentSource`."""
        if isinstance(content.source, MadeBy):
            return None
        _count(content.source, "fetched")
        return await self._fetcher.fetch(content, identity)


class MakingSource:
    """What was made here and has been evicted: it is made again, of what it was made of."""

    def __init__(self, store: ContentStore, make_again: Callable[[Content, str, Identity], Awaitable[None]]) -> None:
        """`make_again` makes the pinned plan with a key, for the sake of some content."""
        self._store = store
        self._make_again = make_again

    async def open(self, content: Content, identity: Identity, *, thorough: bool) -> Blob | None:
        """See `ContentSource`."""
        source, digest = content.source, content.descriptor.digest
        if not isinstance(source, MadeBy):
            return None
        _count(source, "made")
        await self._make_again(content, source.key, identity)
        blob = await self._store.open(digest, source.origin, thorough=thorough)
        if blob is None:
            raise Internal(f"making {source.key} again did not give {digest}")
        return blob


class ContentSources:
    """All sources, in the order in which they are asked."""

    def __init__(self, store: ContentStore, sources: Iterable[ContentSource]) -> None:
        self._store = store
        self._sources = [*sources]

    def add_last(self, source: ContentSource) -> None:
        """Ask a further source after all others."""
        self._sources.append(source)

    async def open(self, content: Content, identity: Identity, *, thorough: bool = False) -> Blob:
        """Return a member of a closure, in its place or on its way there.

        Raises:
            WaveletError: it cannot be had.
        """
        for source in self._sources:
            blob = await source.open(content, identity, thorough=thorough)
            if blob is not None:
                return blob
        raise BlobNotFound(f"there is no source of {content.descriptor.digest}")

    def joined(self, content: Content, identity: Identity) -> JoinedBlob:
        """Return a member of a closure that is joined of others."""
        assert isinstance(content.source, Joined), "all other content is opened"
        descriptor, parts = content.descriptor, content.source.parts
        return JoinedBlob(descriptor.digest, descriptor.size, parts, lambda part: self.open(part, identity))

    async def open_committed(self, content: Content, identity: Identity) -> Committed:
        """Return a member of a closure in its place, to make something new of it; whoever asks holds it there.

        Raises:
            WaveletError: it cannot be had, or does not stay.
        """
        blob = await self.open(content, identity, thorough=True)
        return await in_place(self._store, blob, content.source.origin, content.descriptor.digest)

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole.

        Raises:
            WaveletError: it cannot be had, or is larger than a document may be.
        """
        digest, size, origin = content.descriptor.digest, content.descriptor.size, content.source.origin
        if size > (MADE_DOCUMENT_LIMIT if isinstance(content.source, MadeBy) else MANIFEST_LIMIT):
            raise BlobNotFound(f"{digest} is too large for a document: {size} bytes")
        data = await self._store.read(digest, origin)
        if data is None:
            await in_place(self._store, await self.open(content, identity), origin, digest)
            data = await self._store.read(digest, origin)
        if data is None:
            raise evicted(digest)
        return data


def _count(source: Source, outcome: str) -> None:
    host = label_of(source.repository.host) if isinstance(source, FromUpstream) else LOCATION
    CONTENT.labels(outcome, host).inc()
