"""The mirror: an image copied from one registry to another as it is, streamed, with all platforms and referrers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from cachetools import LRUCache

from wavelet.concurrency import SingleFlight
from wavelet.errors import ImageNotFound, Internal, InvalidRequest, WaveletError
from wavelet.image.image import Descriptor, FromUpstream, read_entries
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.push.blob_sources import follow, verified, was_damaged
from wavelet.push.copy import CopyResult, copy, plan
from wavelet.push.progress import OnProgress, unwatched
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.push.target import Target
from wavelet.resolve.archives import resuming
from wavelet.store.content import Blob, ContentStore, evicted
from wavelet.upstream.client import Upstream
from wavelet.upstream.file_ranges import Piece
from wavelet.upstream.grants import Grants
from wavelet.upstream.pusher import Pusher, PushSource

STREAMS_AT_ONCE = 4
"""Blobs of one image that are copied at one time; each takes some 8 MB of memory, and more of them are not faster."""

DOCUMENTS_BYTES = 16 * 1024 * 1024
"""Bytes of manifests and indexes that are kept from when they are read until they are put; others are read again."""

TAGS_LISTED = 1000
"""Tags of a repository that are listed, to know which of cosign's there are; where it has more, each is asked for."""


class Mirror:
    """Copies images from registry to registry. Only what is in the store already comes from there."""

    def __init__(
        self, upstream: Upstream, grants: Grants, store: ContentStore, pusher: Pusher, pushed: PushedBlobs
    ) -> None:
        self._upstream = upstream
        self._grants = grants
        self._store = store
        self._pusher = pusher
        self._pushed = pushed

    async def copy(
        self, source: Reference, target: Reference, identity: Identity, on_progress: OnProgress = unwatched
    ) -> CopyResult:
        """Copy the image with the digest of `source` to `target`, under its tag if it has one.

        Raises:
            InvalidRequest: they are the same repository, or the target names another digest.
            AccessRefused, NotFound: a registry refuses, or has no such image.
            UpstreamError: a registry does not do its part.
        """
        return await copy(self._source(source, target, identity), self._target(target, identity), on_progress)

    async def plan(self, source: Reference, target: Reference, identity: Identity) -> CopyResult:
        """Return what `copy` would send.

        Raises:
            WaveletError: as `copy`.
        """
        return await plan(self._source(source, target, identity), self._target(target, identity))

    def _source(self, source: Reference, target: Reference, identity: Identity) -> _RegistrySource:
        if source.digest is None:
            raise Internal(f"{source} was not pinned before it is mirrored")
        if source.repository == target.repository:
            raise InvalidRequest(
                f"{source.repository} cannot be mirrored to itself; let wave.build.repository name another registry",
                field="buildRepository",
            )
        mounts = [source.repository] if source.repository.host == target.repository.host else []
        return _RegistrySource(
            self._upstream, self._grants, self._store, source.repository, source.digest, identity, mounts
        )

    def _target(self, target: Reference, identity: Identity) -> Target:
        return Target(self._pusher, self._pushed, target, identity)


class _RegistrySource:
    """`wavelet.push.copy.Source`: an image of a repository, for an identity that has to be entitled to it."""

    def __init__(
        self,
        upstream: Upstream,
        grants: Grants,
        store: ContentStore,
        repository: Repository,
        digest: Digest,
        identity: Identity,
        mounts: Sequence[Repository],
    ) -> None:
        self.digest = digest
        self.at_once = STREAMS_AT_ONCE
        self._upstream = upstream
        self._grants = grants
        self._store = store
        self._repository = repository
        self._origin = FromUpstream(repository).origin
        self._identity = identity
        self._mounts = mounts
        self._documents: LRUCache[Digest, bytes] = LRUCache(DOCUMENTS_BYTES, getsizeof=len)
        self._listing: SingleFlight[str, None] = SingleFlight("list the tags of")
        self._is_listed = False
        self._tags: frozenset[str] | None = None

    async def root(self) -> Descriptor:
        """See `wavelet.push.copy.Source`. Nothing is handed out of the store before the registry has granted this."""
        found, _ = await self._grants.ask(Reference(self._repository, digest=self.digest), self._identity)
        return found.descriptor

    async def document(self, descriptor: Descriptor) -> bytes:
        """See `Documents`."""
        digest = descriptor.digest
        data = self._documents.get(digest)
        if data is None:
            data = await self._store.read(digest, self._origin)
            if data is None:
                fetched = await self._upstream.manifest(Reference(self._repository, digest=digest), self._identity)
                data = fetched.data
            self._documents[digest] = data
        return data

    async def referrers(self, subject: Descriptor) -> Sequence[Descriptor]:
        """See `Documents`."""
        found = await self._upstream.referrers(self._repository, subject.digest, self._identity)
        return [entry.descriptor for entry, _ in read_entries([*found.descriptors])]

    async def tagged(self, tag: str) -> Descriptor | None:
        """See `Documents`."""
        if not self._is_listed:
            await self._listing.run("", self._list)
        if self._tags is not None and tag not in self._tags:
            return None
        try:
            return (await self._upstream.head(Reference(self._repository, tag), self._identity)).descriptor
        except ImageNotFound:
            return None

    async def _list(self) -> None:
        """List the tags, once, where that is possible: one question in place of several for each document."""
        with contextlib.suppress(WaveletError):
            tags, has_more = await self._upstream.tags(self._repository, self._identity, TAGS_LISTED, None)
            self._tags = None if has_more else frozenset(tags)
        self._is_listed = True

    def mounts(self, descriptor: Descriptor) -> Sequence[Repository]:
        """See `wavelet.push.copy.Source`."""
        return self._mounts

    async def was_damaged(self, descriptor: Descriptor) -> bool:
        """See `wavelet.push.copy.Source`."""
        return await was_damaged(self._store, descriptor.digest, self._origin)

    def blob(self, descriptor: Descriptor) -> PushSource:
        """See `wavelet.push.copy.Source`."""
        digest = descriptor.digest
        opener = resuming(
            lambda offset: self._upstream.blob(self._repository, digest, self._identity, offset), self._repository.host
        )
        streamed = verified(descriptor, opener, str(self._repository))

        @contextlib.asynccontextmanager
        async def open_at(offset: int) -> AsyncIterator[AsyncIterator[Piece]]:
            held = await self._store.open(digest, self._origin)
            opened = streamed.open(offset) if held is None else follow(descriptor, self._store, find, offset)
            async with opened as chunks:
                yield chunks

        async def find() -> Blob:
            held = await self._store.open(digest, self._origin)
            if held is None:
                raise evicted(digest)
            return held

        return PushSource(descriptor, open_at)
