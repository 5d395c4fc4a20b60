"""The repositories for layers of packages, `wave.build.cacheRepository`: looked into before one is made, and filled.

It saves time and is needed for nothing: what does not answer, or refuses, is noted in the log of the request and let be
for a while, and the layer is made here. Layers get there behind the backs of those who wait for the image.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import structlog
from prometheus_client import Counter

from wavelet.concurrency import gather_all
from wavelet.errors import BlobNotFound, NotFound, WaveletError
from wavelet.image.image import OCI_MANIFEST, Content, Descriptor, Image
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import Principal
from wavelet.push.blob_sources import from_store
from wavelet.push.layer_entry import entry_of, read_entry, tag_of
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.push.target import Target
from wavelet.resolve.archives import resuming
from wavelet.resolve.cached_layers import CachedLayer
from wavelet.resolve.job import account
from wavelet.store.content import Blob, ContentStore, in_place
from wavelet.upstream.client import Upstream
from wavelet.upstream.retry import ExpiringSet

log = structlog.get_logger()

LAYERS = Counter(
    "wavelet_cached_layers_total",
    "Layers and cacheRepository: `found` there, `missing`, `unsealed` by this cluster, `failed` to be looked for or "
    "fetched, `put` there, `unput` as that has failed.",
    ["outcome"],
)

LOOK_LIMIT = 10.0
"""Seconds that a repository has to say whether it has a layer."""

FETCH_LIMIT = 300.0
"""Seconds in which a layer has to be here; then it is made."""

PUT_LIMIT = 600.0
"""Seconds for one layer to be put."""

PUT_AT_ONCE = 4

REST = 60.0
"""Seconds for which a repository that has failed somebody is not asked for them."""


class LayerCache:
    """`wavelet.resolve.cached_layers.LayerCache`; `key` is the cluster's."""

    def __init__(self, upstream: Upstream, store: ContentStore, pushed: PushedBlobs, key: bytes) -> None:
        self._upstream = upstream
        self._store = store
        self._pushed = pushed
        self._key = key
        self._resting: ExpiringSet[tuple[str, Repository, Principal]] = ExpiringSet()
        self._slots = asyncio.Semaphore(PUT_AT_ONCE)

    async def find(self, layer: CachedLayer) -> Image | None:
        """See `LayerCache`."""
        if self._rests("looked for", layer):
            return None
        begun = time.monotonic()
        outcome = "failed"
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                fetched = await self._upstream.manifest(self._reference(layer), layer.identity)
            image = read_entry(self._key, layer.key, fetched.data)
            if image is None:
                outcome = "unsealed"
                self._note(layer, f"what {self._reference(layer)} has was not put there by a node of this cluster")
                return None
            async with asyncio.timeout(FETCH_LIMIT):
                await self._fetch(layer, image)
            outcome = "found"
        except NotFound as error:
            outcome = "failed" if isinstance(error, BlobNotFound) else "missing"
            return None
        except (WaveletError, TimeoutError) as error:
            self._let_be("looked for", layer, error)
            return None
        finally:
            LAYERS.labels(outcome).inc()
        size = sum(content.descriptor.size for content in image.contents)
        seconds = time.monotonic() - begun
        layer.report(f"{layer.title}: {size} bytes, fetched from {layer.repository} in {seconds:.1f} s")
        return image

    async def _fetch(self, layer: CachedLayer, image: Image) -> None:
        """Take in the content of an entry, verified by its digests."""
        with self._store.retention.holding([content.descriptor.digest for content in image.contents]):
            await gather_all(self._take_in(layer, content) for content in image.contents)

    async def _take_in(self, layer: CachedLayer, content: Content) -> None:
        digest, size, origin = content.descriptor.digest, content.descriptor.size, content.source.origin
        blob = await self._store.open(digest, origin, thorough=True)
        if blob is None:
            opener = resuming(
                lambda offset: self._upstream.blob(layer.repository, digest, layer.identity, offset),
                layer.repository.host,
            )
            blob = arriving = await self._store.ingest(digest, size, origin, opener)
            account().take_in(arriving)
        await in_place(self._store, blob, origin, layer.title)

    async def put(self, layer: CachedLayer, image: Image) -> None:
        """See `LayerCache`."""
        with self._store.retention.holding([content.descriptor.digest for content in image.contents]):
            async with self._slots:
                if self._rests("put", layer):
                    return
                try:
                    async with asyncio.timeout(PUT_LIMIT):
                        await self._push(layer, image)
                except (WaveletError, TimeoutError) as error:
                    LAYERS.labels("unput").inc()
                    self._let_be("put", layer, error)
                else:
                    LAYERS.labels("put").inc()

    async def _push(self, layer: CachedLayer, image: Image) -> None:
        target = Target(self._upstream.pusher, self._pushed, self._reference(layer), layer.identity)

        async def send(content: Content) -> None:
            source = from_store(content.descriptor, self._store, partial(self._held, content))
            await target.put_blob(source, (), lambda _: None)

        await gather_all(map(send, image.contents))
        data = entry_of(self._key, layer.key, image)
        await target.put_document(
            tag_of(self._key, layer.key), Descriptor(OCI_MANIFEST, Digest.of(data), len(data)), data
        )

    async def _held(self, content: Content) -> Blob:
        digest = content.descriptor.digest
        blob = await self._store.open(digest, content.source.origin)
        if blob is None:
            raise BlobNotFound(f"{digest} was evicted before it was put into a repository for layers")
        return blob

    def _reference(self, layer: CachedLayer) -> Reference:
        return Reference(layer.repository, tag_of(self._key, layer.key))

    def _rests(self, doing: str, layer: CachedLayer) -> bool:
        return (doing, layer.repository, layer.identity.principal) in self._resting

    def _let_be(self, doing: str, layer: CachedLayer, error: WaveletError | TimeoutError) -> None:
        """Note that a repository has failed, once for those who have asked it at the same time."""
        if not self._rests(doing, layer):
            self._resting.add((doing, layer.repository, layer.identity.principal), REST)
            why = error.message if isinstance(error, WaveletError) else "it does not answer in time"
            self._note(layer, f"layers are not {doing} in {layer.repository} for {REST:.0f} s: {why}")

    @staticmethod
    def _note(layer: CachedLayer, message: str) -> None:
        layer.report(f"cacheRepository: {message}")
        log.warning("a repository for layers is passed over", because=message)
