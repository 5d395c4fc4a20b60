"""The fetcher of blobs: content comes into the store from its registry, its location, or the record of its request."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

from wavelet.cluster.records import Records
from wavelet.config import Apply, Settings, parse_size
from wavelet.errors import (
    BlobNotFound,
    CallerError,
    DigestMismatch,
    NotFound,
    UpstreamBroken,
    WaitExpired,
    WaveletError,
)
from wavelet.image.image import ACCEPTED_TYPES, Content, Descriptor, FromLocation, FromUpstream
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.node import INLINE, PACK
from wavelet.plan.tokens import Identity
from wavelet.resolve.archives import resuming
from wavelet.resolve.job import account
from wavelet.resolve.metrics import LOCATION
from wavelet.store.content import ContentStore
from wavelet.store.ingest import Incoming, Opener, PartialBlob
from wavelet.upstream.client import Upstream
from wavelet.upstream.fallback import verdict

READ_SIZE = 1024 * 1024

BUILT_AGAIN = 5.0
"""Seconds after which who has asked for a damaged layer of a pack may ask again."""

URLS_TRIED = 8
"""URLs of one layer that are tried."""


class PackFiles(Protocol):
    """The layers of this node's packs; see `wavelet.packs.library.PackLibrary`."""

    async def file(self, location: str, digest: Digest) -> Path:
        """Return the file of a layer.

        Raises:
            BlobNotFound: this node does not have it.
        """

    def lost(self, digest: Digest) -> None:
        """Take note that the file of a layer has other bytes."""


class _NoPacks:
    async def file(self, location: str, digest: Digest) -> Path:
        raise BlobNotFound(f"{location}: this node has no packs")

    def lost(self, digest: Digest) -> None:
        """There is none to lose."""


class BlobFetcher:
    """Fetches members of closures whose bytes come from outside.

    Attributes:
        gone: is told of each repository that definitely has no more what an image is to have from it.
        packs: the packs of this node.
    """

    def __init__(
        self,
        store: ContentStore,
        upstream: Upstream,
        records: Records,
        settings: Settings,
        *,
        gone: Callable[[Repository], None],
    ) -> None:
        self._store = store
        self._upstream = upstream
        self._records = records
        self.gone = gone
        self.packs: PackFiles = _NoPacks()
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the most bytes of a layer that a request names."""
        limit = parse_size(settings.upstream.layer_limit, "upstream.layer_limit")

        def apply() -> None:
            self._layer_limit = limit

        return apply

    async def fetch(self, content: Content, identity: Identity) -> PartialBlob:
        """Start to fetch a member of a closure from its upstream or location, or join the fetch that runs."""
        descriptor, source = content.descriptor, content.source
        if isinstance(source, FromUpstream):
            # Registries have manifests under another address than blobs.
            is_manifest = descriptor.media_type in ACCEPTED_TYPES
            opens = self._manifest_from_upstream if is_manifest else self._from_upstream
            opener = opens(source.repository, descriptor.digest, identity)
            opener = self._elsewhere(opener, source.repository, descriptor)
            return _counted(await self._store.ingest(descriptor.digest, descriptor.size, source.origin, opener))
        assert isinstance(source, FromLocation)
        return await self.fetch_layer(source, descriptor.digest, descriptor.size)

    async def fetch_unnamed(
        self, repository: Repository, digest: Digest, size: int | None, identity: Identity
    ) -> PartialBlob:
        """Fetch a blob that no manifest known here names."""
        opener = self._from_upstream(repository, digest, identity)
        return await self._store.ingest(digest, size, FromUpstream(repository).origin, opener)

    async def fetch_layer(self, source: FromLocation, digest: Digest, size: int | None) -> PartialBlob:
        """Fetch a layer that a request names; `size` is what it says, if anything."""
        location = source.location
        if location.startswith(PACK):
            opener, blame = self._of_pack(location, digest), self._damaged(location, digest)
        else:
            opener = self._inline(location, digest) if location.startswith(INLINE) else self._at(location)
            blame = _mismatch(location)
        return _counted(await self._store.ingest(digest, size, source.origin, opener, blame))

    def _from_upstream(self, repository: Repository, digest: Digest, identity: Identity) -> Opener:
        return resuming(lambda offset: self._upstream.blob(repository, digest, identity, offset), repository.host)

    def _elsewhere(self, first: Opener, repository: Repository, descriptor: Descriptor) -> Opener:
        """Open what `first` opens, or, where it is not there, what the URLs of the descriptor have.

        Layers that may not be distributed are often at their URLs alone (image-spec layer.md, "Non-Distributable
        Layers"). Whatever comes is verified as all content is.
        """

        def at(url: str) -> Opener:
            return resuming(lambda offset: self._upstream.location(url, offset), LOCATION, descriptor.size)

        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            errors: list[WaveletError] = []
            async with contextlib.AsyncExitStack() as stack:
                for each in (first, *map(at, descriptor.urls[:URLS_TRIED])):
                    try:
                        incoming = await stack.enter_async_context(each(offset))
                        break
                    except NotFound as error:
                        errors.append(error)
                    except WaveletError as error:
                        if not errors:
                            raise  # the registry does not say that it has none
                        errors.append(UpstreamBroken(error.message) if isinstance(error, CallerError) else error)
                else:
                    self.gone(repository)
                    raise verdict(errors)
                yield incoming

        return opener

    def _manifest_from_upstream(self, repository: Repository, digest: Digest, identity: Identity) -> Opener:
        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            fetched = await self._upstream.manifest(Reference(repository, digest=digest), identity)

            async def chunks() -> AsyncIterator[bytes]:
                yield fetched.data[offset:]

            yield Incoming(offset, len(fetched.data), chunks(), public=fetched.granted.public)

        return opener

    def _at(self, url: str) -> Opener:
        return resuming(lambda offset: self._upstream.location(url, offset), LOCATION, self._layer_limit)

    def _of_pack(self, location: str, digest: Digest) -> Opener:
        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            path = await self.packs.file(location, digest)
            with await asyncio.to_thread(path.open, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)

                async def chunks() -> AsyncIterator[bytes]:
                    while data := await asyncio.to_thread(file.read, READ_SIZE):
                        yield data

                yield Incoming(offset, size, chunks(), public=False)

        return opener

    def _damaged(self, location: str, digest: Digest) -> Callable[[str], WaveletError]:
        def blame(message: str) -> WaveletError:
            self.packs.lost(digest)
            why = f"{location} is damaged on this node, and is built again; ask again ({message})"
            return WaitExpired(why, retry_after=BUILT_AGAIN)

        return blame

    def _inline(self, location: str, digest: Digest) -> Opener:
        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            data = await self._records.inline(location.removeprefix(INLINE), digest)
            if data is None:
                raise BlobNotFound(f"the inline layer {digest} is no longer beside its request; send the request again")

            async def chunks() -> AsyncIterator[bytes]:
                yield data[offset:]

            yield Incoming(offset, len(data), chunks(), public=False)

        return opener


def _counted(partial: PartialBlob) -> PartialBlob:
    account().take_in(partial)
    return partial


def _mismatch(location: str) -> Callable[[str], WaveletError]:
    shown = "the request" if location.startswith(INLINE) else location.partition("?")[0]

    def blame(message: str) -> WaveletError:
        return DigestMismatch(f"containerConfig.layers: {message} (from {shown})", field="containerConfig.layers")

    return blame
