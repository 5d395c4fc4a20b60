"""The verifier of layers that requests name: one joins an image when its bytes came from its location and are right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from cachetools import LRUCache

from wavelet.config import Apply, Settings, parse_size
from wavelet.errors import CallerError, DigestMismatch
from wavelet.image.image import Content, Descriptor, Family, FromLocation
from wavelet.image.reference import Digest
from wavelet.plan.node import INLINE, Layer, Node, layers
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.inflate import diff_id_of, file_blocks
from wavelet.resolve.job import account
from wavelet.store.content import ContentStore, in_place
from wavelet.store.database import Database
from wavelet.store.ingest import PartialBlob

SCHEMA = """
CREATE TABLE IF NOT EXISTS layers (origin TEXT, digest TEXT, diff_id TEXT, size INTEGER, PRIMARY KEY (origin, digest))
WITHOUT ROWID;
"""


INFLATING = 2
"""Layers that are inflated at one time."""

RECENT_LAYERS = 4096
"""Verified layers that are known without asking the database."""

INLINE_INFLATED_LIMIT = 512 * 1024 * 1024
"""Bytes that a layer may inflate to which came with its request; Nextflow's bundles have 10 MB at most."""


class RequestLayerVerifier:
    """Verifies layers, and remembers which were."""

    def __init__(self, store: ContentStore, fetcher: BlobFetcher, database: Database, settings: Settings) -> None:
        self._store = store
        self._fetcher = fetcher
        self._database = database
        self.configure(settings)()
        self._recent: LRUCache[tuple[str, Digest], tuple[Digest, int]] = LRUCache(RECENT_LAYERS)
        # Threads of its own: a layer that inflates for a minute must not hold up what is hashed and written meanwhile.
        self._threads = ThreadPoolExecutor(INFLATING, "inflate")

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the most bytes that a named layer may inflate to."""
        limit = parse_size(settings.upstream.inflated_limit, "upstream.inflated_limit")

        def apply() -> None:
            self._inflated_limit = limit

        return apply

    async def verified(self, layer: Layer) -> Content:
        """Return a layer as content, fetched and verified if it was not before.

        Raises:
            DigestMismatch: `gzipDigest`, `gzipSize` or `tarDigest` is wrong.
            TooLarge: it is, or inflates to, more than the limit.
            WaveletError: it cannot be had.
        """
        size = self.known_size(layer)
        if size is None:
            try:
                size = await self._verify(layer)
            except CallerError as error:
                raise _of_layers(error) from None
        if layer.size not in (None, size):
            raise DigestMismatch(
                f"containerConfig.layers: gzipSize says {layer.size}, but {layer.digest} has {size} bytes",
                field="containerConfig.layers.gzipSize",
            )
        return Content(Descriptor(Family.OCI.layer(), layer.digest, size), _source(layer))

    async def _verify(self, layer: Layer) -> int:
        account().begin("verifying")
        source = _source(layer)
        blob = await self._store.open(layer.digest, source.origin, thorough=True)
        if blob is None or isinstance(blob, PartialBlob):
            blob = await self._fetcher.fetch_layer(source, layer.digest, layer.size)
        blob = await in_place(self._store, blob, source.origin, f"the layer {layer.digest}")
        path = blob.path
        self._check(layer, await self._inflate(lambda: diff_id_of(file_blocks(path), self._inflated_limit)))
        self.remember(layer, blob.size)
        return blob.size

    async def take_inline(self, plan: Node, inline: Mapping[Digest, bytes]) -> None:
        """Verify the tars of a plan's layers whose bytes came with the request, and take note of those layers.

        Raises:
            DigestMismatch: `tarDigest` is wrong.
            TooLarge: one inflates to more than the limit.
        """
        limit = min(INLINE_INFLATED_LIMIT, self._inflated_limit)
        for layer in layers(plan):
            if layer.location == INLINE and self.known_size(layer) is None:
                data = inline[layer.digest]
                self._check(layer, await self._inflate(partial(diff_id_of, (data,), limit)))
                self.remember(layer, len(data))

    async def _inflate(self, work: Callable[[], Digest]) -> Digest:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, layer: Layer, diff_id: Digest) -> None:
        if diff_id != layer.diff_id:
            raise DigestMismatch(
                f"containerConfig.layers: tarDigest says {layer.diff_id}, but {layer.digest} inflates to {diff_id}",
                field="containerConfig.layers.tarDigest",
            )

    def known_size(self, layer: Layer) -> int | None:
        """Return the size in bytes of a layer that was verified before, from this location."""
        origin = _source(layer).origin
        known = self._recent.get((origin, layer.digest))
        if known is None:
            sql = "SELECT diff_id, size FROM layers WHERE origin = ? AND digest = ?"
            known = next(iter(self._database.read(sql, origin, layer.digest)), None)
        return known[1] if known is not None and known[0] == layer.diff_id else None

    def are_known(self, plan: Node) -> bool:
        """Tell whether all layers that a plan names were verified before, from where it says they are."""
        return all(self.known_size(layer) is not None for layer in layers(plan))

    def remember(self, layer: Layer, size: int) -> None:
        """Note that a layer of `size` bytes was verified from its location."""
        origin = _source(layer).origin
        # Known at once; that it is written down can wait, for all that would be lost is having to look again.
        self._recent[origin, layer.digest] = layer.diff_id, size
        row = (origin, layer.digest, layer.diff_id, size)
        self._database.write_later("INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?)", *row)


def _source(layer: Layer) -> FromLocation:
    return FromLocation(layer.location, layer.diff_id)


def _of_layers(error: CallerError) -> CallerError:
    """Return an error that names the request's member."""
    field = "containerConfig.layers"
    return error.with_message(f"{field}: {error.message}", field=field) if error.field is None else error
