"""What makers may do, on behalf of an identity that is known to be entitled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromUpstream, Image, MadeBy
from wavelet.image.manifest import Descriptor
from wavelet.image.reference import Reference
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.plan import Layer, Plan
from wavelet.resolve.layers import Layers
from wavelet.store.content import ContentStore
from wavelet.upstream.client import Upstream

WORK_LIMIT = 3600.0
"""Seconds that one making waits for another that it is part of; each has its own limit besides."""


class Resolves(Protocol):
    """What is needed of the resolver."""

    async def make(self, plan: Plan, key: str, identity: Identity, public: bool = False, *, wait: float) -> Image:
        """See `wavelet.resolve.resolver.Resolver.make`."""

    async def read(self, content: Content, identity: Identity) -> bytes:
        """See `wavelet.resolve.resolver.Resolver.read`."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where bytes come from, and for whom they are fetched."""

    store: ContentStore
    upstream: Upstream
    layers: Layers
    identity: Identity


class ResolverWork:
    """`wavelet.make.work.Work`, for the plan with `key`."""

    def __init__(self, resolver: Resolves, fetch: Fetch, key: str, public: bool) -> None:
        self.key = key
        self._resolver = resolver
        self._fetch = fetch
        self._public = public

    async def realise(self, plan: Plan) -> Image:
        """See `Work`."""
        return await self._resolver.make(plan, key_of(plan), self._fetch.identity, self._public, wait=WORK_LIMIT)

    async def manifest(self, reference: Reference) -> tuple[bytes, str]:
        """See `Work`."""
        assert reference.digest is not None, "a pinned reference has a digest"
        origin = FromUpstream(reference.repository).origin
        data = await self._fetch.store.read(reference.digest, origin)
        if data is not None:
            return data, ""
        fetched = await self._fetch.upstream.manifest(reference, self._fetch.identity)
        await self._fetch.store.add(fetched.data, reference.digest, origin, public=fetched.granted.public)
        return fetched.data, fetched.media_type

    async def read(self, content: Content) -> bytes:
        """See `Work`."""
        return await self._resolver.read(content, self._fetch.identity)

    async def layer(self, layer: Layer) -> Content:
        """See `Work`."""
        return await self._fetch.layers.verified(layer)

    async def keep(self, data: bytes, media_type: str) -> Content:
        """See `Work`."""
        source = MadeBy(self.key)
        digest = Digest.of(data)
        await self._fetch.store.add(data, digest, source.origin)
        return Content(Descriptor(media_type, digest, len(data)), source)
