"""Blobs that no manifest known here names, by the repository where somebody asks for them."""

from __future__ import annotations

from wavelet.errors import UpstreamError
from wavelet.image.image import FromUpstream
from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.store.content import Blob, ContentStore
from wavelet.upstream.client import Upstream
from wavelet.upstream.grants import Grants


class UnnamedBlobs:
    """See the module."""

    def __init__(self, store: ContentStore, upstream: Upstream, grants: Grants, fetcher: BlobFetcher) -> None:
        self._store = store
        self._upstream = upstream
        self._grants = grants
        self._fetcher = fetcher

    async def size(self, repository: Repository, digest: Digest, identity: Identity) -> int | None:
        """Return the bytes of a blob if the upstream says that it is there; None where nobody knows how many.

        Raises:
            BlobNotFound: it is not.
            WaveletError: why that cannot be told.
        """
        try:
            size, _ = await self._upstream.blob_size(repository, digest, identity)
        except UpstreamError:
            await self._grants.require(repository, identity)
            held = self._store.find(digest, FromUpstream(repository).origin)
            if held is None:
                raise
            return held.size
        # Where the upstream tells no length, the store knows it once it has the bytes.
        held = self._store.find(digest, FromUpstream(repository).origin) if size is None else None
        return size if held is None else held.size

    async def open(self, repository: Repository, digest: Digest, size: int | None, identity: Identity) -> Blob:
        """Return a blob that `size` has found."""
        blob = await self._store.open(digest, FromUpstream(repository).origin)
        return blob or await self._fetcher.fetch_unnamed(repository, digest, size, identity)
