"""The work of makers, on behalf of an identity that is known to be entitled."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from wavelet.cluster.records import Record, Records
from wavelet.errors import NotFound
from wavelet.image.image import Content, Descriptor, FromUpstream, Image, MadeBy
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.canonical import Pin
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Layer, Node
from wavelet.plan.tokens import ANONYMOUS, Identity, Principal, target_name
from wavelet.quantities import size as size_of
from wavelet.resolve.archives import Archives
from wavelet.resolve.cached_layers import LayerCache
from wavelet.resolve.content_sources import ContentSources
from wavelet.resolve.events import Download
from wavelet.resolve.first_made import Sharing
from wavelet.resolve.job import account
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.workers import Workers
from wavelet.store.content import ContentStore
from wavelet.upstream.client import Upstream

T = TypeVar("T")

WORK_LIMIT = 3600.0
"""Seconds that one making waits for another that it is part of; each has its own limit besides."""


class Makes(Protocol):
    """What work needs of making."""

    async def make(
        self,
        plan: Node,
        key: str,
        identity: Identity,
        public: bool = False,
        *,
        wait: float,
        report: Callable[[str], None] | None = None,
        cache: Repository | None = None,
    ) -> Image:
        """See `wavelet.resolve.steps.Making.make`."""

    def remembers(self, key: str) -> bool:
        """See `wavelet.resolve.steps.Making.remembers`."""


class RegistryManifests:
    """Manifests of registries by their digests, from the store or from their registry."""

    def __init__(self, store: ContentStore, upstream: Upstream, gone: Callable[[Repository], None]) -> None:
        """`gone` hears of repositories that lack what they had."""
        self._store = store
        self._upstream = upstream
        self._gone = gone

    async def get(self, reference: Reference, identity: Identity) -> tuple[bytes, str]:
        """See `Work.manifest`."""
        assert reference.digest is not None, "a pinned reference has a digest"
        origin = FromUpstream(reference.repository).origin
        data = await self._store.read(reference.digest, origin)
        if data is not None:
            return data, ""
        try:
            fetched = await self._upstream.manifest(reference, identity)
        except NotFound:
            self._gone(reference.repository)
            raise
        account().take_in(Download(len(fetched.data), len(fetched.data)))
        await self._store.add(fetched.data, reference.digest, origin, public=fetched.granted.public)
        return fetched.data, fetched.media_type


class OwnNames:
    """The names that this daemon gives to images for the sake of its own work; `authority` is what they begin with."""

    def __init__(self, records: Records, authority: str) -> None:
        self._records = records
        self._authority = authority

    async def name(self, plan: Node, principal: Principal) -> str:
        """Return a name of a pinned plan that `principal` may pull."""
        token = await self._records.put(Record(plan, principal, Pin.of(plan)), {})
        return target_name(self._authority, token, plan)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What makers read: members of closures, registries' manifests, layers of requests, files of packages."""

    contents: ContentSources
    manifests: RegistryManifests
    layers: RequestLayerVerifier
    archives: Archives


@dataclass(frozen=True, slots=True)
class Tools:
    """What makers work with."""

    inputs: Inputs
    store: ContentStore
    sharing: Sharing
    workers: Workers
    names: OwnNames
    cached: LayerCache


class ResolverWork:
    """`wavelet.kinds.kind.Work`, for the plan with `key`.

    `public` is whether everybody may read what it is made of; `cache` has layers of what it is made of.
    """

    def __init__(
        self,
        making: Makes,
        tools: Tools,
        key: str,
        identity: Identity,
        public: bool,
        report: Callable[[str], None],
        cache: Repository | None = None,
    ) -> None:
        self.key = key
        self._cache = cache
        self.report = report
        self._making = making
        self._tools = tools
        self._identity = identity
        self._public = public
        self._held: set[Digest] = set()

    def close(self) -> None:
        """Let go of what was held for this making."""
        self._tools.store.retention.release(self._held)

    def _hold(self, digest: Digest) -> None:
        if digest not in self._held:
            self._held.add(digest)
            self._tools.store.retention.hold([digest])

    async def realise(self, plan: Node) -> Image:
        """See `Work`."""
        return await self._making.make(
            plan,
            key_of(plan),
            self._identity,
            self._public,
            wait=WORK_LIMIT,
            report=self.report,
            cache=self._cache,
        )

    def known(self, plan: Node) -> bool:
        """See `Work`."""
        return self._making.remembers(key_of(plan))

    async def manifest(self, reference: Reference) -> tuple[bytes, str]:
        """See `Work`."""
        return await self._tools.inputs.manifests.get(reference, self._identity)

    async def read(self, content: Content) -> bytes:
        """See `Work`."""
        return await self._tools.inputs.contents.read(content, self._identity)

    async def layer(self, layer: Layer) -> Content:
        """See `Work`."""
        return await self._tools.inputs.layers.verified(layer)

    async def keep(self, data: bytes, media_type: str) -> Content:
        """See `Work`."""
        source = MadeBy(self.key)
        digest = Digest.of(data)
        await self._tools.store.add(data, digest, source.origin)
        return Content(Descriptor(media_type, digest, len(data)), source)

    async def archive(self, location: str, digest: Digest, size: int | None) -> Path:
        """See `Work`."""
        self._hold(digest)
        return await self._tools.inputs.archives.get(location, digest, size)

    async def download(self, urls: Sequence[str], md5: str) -> Path:
        """See `Work`."""
        blob = await self._tools.inputs.archives.download(urls, md5)
        self._hold(blob.digest)
        return blob.path

    async def path(self, content: Content) -> Path:
        """See `Work`."""
        self._hold(content.descriptor.digest)
        return (await self._tools.inputs.contents.open_committed(content, self._identity)).path

    @contextlib.asynccontextmanager
    async def scratch(self, size: int) -> AsyncIterator[Path]:
        """See `Work`."""
        async with self._tools.store.scratch(size, f"what is being made ({size_of(size)})") as directory:
            yield directory

    @contextlib.asynccontextmanager
    async def tree(
        self, key: str, size: Callable[[], Awaitable[int]], fill: Callable[[Path], Awaitable[None]]
    ) -> AsyncIterator[Path]:
        """See `Work`."""
        async with self._tools.store.trees.read(key, size, fill) as directory:
            yield directory

    async def adopt(self, file: Path, descriptor: Descriptor, *, derived: bool = False) -> Content:
        """See `Work`."""
        source = MadeBy(self.key)
        await self._tools.store.adopt(file, descriptor.digest, descriptor.size, source.origin, derived=derived)
        return Content(descriptor, source)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """See `Work`."""
        return await self._tools.workers.run(function, *arguments)

    async def pullable(self, plan: Node) -> str:
        """See `Work`."""
        principal = ANONYMOUS if self._public else self._identity.principal
        return await self._tools.names.name(plan, principal)
