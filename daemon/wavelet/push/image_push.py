"""The push of an image that this node makes, or has: what it lacks at the target comes from wherever it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from wavelet import foreign_json
from wavelet.errors import BlobNotFound, UpstreamBroken
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import (
    MANIFEST_TYPES,
    Content,
    Descriptor,
    FromUpstream,
    Image,
    Joined,
    MadeBy,
    MalformedManifest,
    parse_document,
)
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Identity
from wavelet.push.blob_sources import of_content, was_damaged
from wavelet.push.copy import CopyResult, copy, plan
from wavelet.push.progress import OnProgress, unwatched
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.push.target import Target
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore
from wavelet.upstream.pusher import Pusher, PushSource

FILES_AT_ONCE = 8
"""Blobs of one image that are sent at one time; a registry waits for its disk at the end of each."""


class ImagePusher:
    """Pushes images with all of their closure: bills of materials and locks go along as referrers."""

    def __init__(self, resolver: Resolver, store: ContentStore, pusher: Pusher, pushed: PushedBlobs) -> None:
        self._resolver = resolver
        self._store = store
        self._pusher = pusher
        self._pushed = pushed

    async def push(
        self, image: Image, target: Reference, identity: Identity, on_progress: OnProgress = unwatched
    ) -> CopyResult:
        """Push an image that `identity` is known to be entitled to; if it is there already, one question answers.

        Raises:
            InvalidRequest: the target names another digest.
            WaveletError: some of it cannot be had, or the target does not take it.
        """
        source = _ImageSource(self._resolver, self._store, image, identity, target.repository.host)
        return await copy(source, Target(self._pusher, self._pushed, target, identity), on_progress)

    async def plan(self, image: Image, target: Reference, identity: Identity) -> CopyResult:
        """Return what `push` would send.

        Raises:
            WaveletError: as `push`.
        """
        source = _ImageSource(self._resolver, self._store, image, identity, target.repository.host)
        return await plan(source, Target(self._pusher, self._pushed, target, identity))


class _Subject(msgspec.Struct):
    digest: str = ""


class _Referring(msgspec.Struct):
    subject: _Subject | None = None


class _ImageSource:
    """`wavelet.push.copy.Source`: the closure of an image. `host` is the registry that it goes to."""

    def __init__(self, resolver: Resolver, store: ContentStore, image: Image, identity: Identity, host: str) -> None:
        self.at_once = FILES_AT_ONCE
        self._resolver = resolver
        self._store = store
        self._image = image
        self._identity = identity
        self._host = host
        self._known = dict(image.closure)
        self._referrers: dict[str, list[Descriptor]] | None = None

    @property
    def digest(self) -> Digest:
        """See `wavelet.push.copy.Source`."""
        return self._image.descriptor.digest

    async def root(self) -> Descriptor:
        """See `wavelet.push.copy.Source`."""
        return self._image.descriptor

    def _content(self, digest: Digest) -> Content:
        content = self._known.get(digest)
        if content is None:
            raise BlobNotFound(f"the image {self._image.descriptor.digest} names {digest}, which is not part of it")
        return content

    async def document(self, descriptor: Descriptor) -> bytes:
        """See `Documents`. What an index of a registry names is in the same repository."""
        content = self._content(descriptor.digest)
        data = await self._resolver.read(content, self._identity)
        if isinstance(content.source, FromUpstream):
            try:
                children = parse_document(data, descriptor.media_type).descriptors
            except MalformedManifest as error:
                raise UpstreamBroken(f"{descriptor.digest}: {error}") from None
            for child in children:
                self._known.setdefault(child.digest, Content(child, content.source))
        return data

    async def referrers(self, subject: Descriptor) -> Sequence[Descriptor]:
        """See `Documents`: what was made along with the image."""
        if self._referrers is None:
            self._referrers = await self._find_referrers()
        return self._referrers.get(subject.digest, [])

    async def _find_referrers(self) -> dict[str, list[Descriptor]]:
        found: dict[str, list[Descriptor]] = defaultdict(list)
        for content in self._image.contents:
            if content.descriptor.media_type in MANIFEST_TYPES and isinstance(content.source, MadeBy):
                try:
                    document = foreign_json.decode(await self._resolver.read(content, self._identity), _Referring)
                except ForeignJsonError:
                    continue
                if document.subject is not None:
                    found[document.subject.digest].append(content.descriptor)
        return found

    async def tagged(self, tag: str) -> Descriptor | None:
        """See `Documents`."""
        return None

    def mounts(self, descriptor: Descriptor) -> Sequence[Repository]:
        """See `wavelet.push.copy.Source`: where the base's layers are, if that is the same registry."""
        source = self._content(descriptor.digest).source
        if isinstance(source, FromUpstream) and source.repository.host == self._host:
            return [source.repository]
        return []

    async def was_damaged(self, descriptor: Descriptor) -> bool:
        """See `wavelet.push.copy.Source`."""
        content = self._content(descriptor.digest)
        parts = content.source.parts if isinstance(content.source, Joined) else (content,)
        return any([await was_damaged(self._store, part.descriptor.digest, part.source.origin) for part in parts])

    def blob(self, descriptor: Descriptor) -> PushSource:
        """See `wavelet.push.copy.Source`."""
        return of_content(self._content(descriptor.digest), self._resolver, self._store, self._identity)
