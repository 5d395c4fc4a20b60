"""The fetcher of what packs are made of and do not have in their directory: images' layers, and what is at URLs.

Images are read with the daemon's own logins, as those of the site are. What was fetched stays while a pack is built.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from wavelet.errors import ImageNotFound, WaveletError
from wavelet.image.image import FromLocation, Manifest
from wavelet.image.reference import Platform, Reference
from wavelet.kinds.kind import read_document
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.packs.building import Fetched
from wavelet.packs.members import refused
from wavelet.packs.spec import ImageSource, LayerSpec, PackSpec, UrlSource
from wavelet.plan.tokens import Identity
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore, in_place
from wavelet.store.ingest import PartialBlob

ARCHITECTURES = ("amd64", "arm64")
"""For which an image is taken whose layer in the pack names none."""


class Fetching(Protocol):
    """See `SourceFetcher`."""

    async def fetch(self, spec: PackSpec, stack: AsyncExitStack) -> dict[int, list[Fetched]]:
        """Return, by the numbers of their layers, the tars that a pack is made of; they stay until `stack` ends.

        Raises:
            PackRefused: there is none such, or it has other bytes.
            WaveletError: it cannot be had now.
        """


class SourceFetcher:
    """Fetches by what the daemon fetches everything by."""

    def __init__(self, resolver: Resolver, fetcher: BlobFetcher, store: ContentStore) -> None:
        self._resolver = resolver
        self._fetcher = fetcher
        self._store = store
        self._identity = Identity(os.geteuid())

    async def fetch(self, spec: PackSpec, stack: AsyncExitStack) -> dict[int, list[Fetched]]:
        """See `Fetching`."""
        fetched = {}
        for number, layer in enumerate(spec.layers):
            if isinstance(layer.source, ImageSource):
                fetched[number] = await self._image(layer, layer.source.reference, stack)
            elif isinstance(layer.source, UrlSource):
                fetched[number] = [await stack.enter_async_context(self._url(layer, layer.source))]
        return fetched

    async def _image(self, layer: LayerSpec, reference: Reference, stack: AsyncExitStack) -> list[Fetched]:
        wanted = ARCHITECTURES if layer.architecture is None else (layer.architecture,)
        fetched: list[Fetched] = []
        absent: ImageNotFound | None = None
        for architecture in wanted:
            try:
                fetched += await self._layers(reference, architecture, stack)
            except ImageNotFound as error:
                absent = error
            except WaveletError as error:
                raise error.with_message(f"{layer.place}.image: {error.message}") from None
        if absent is not None and not fetched:
            raise refused(f"{layer.place}.image", absent.message)
        return fetched

    async def _layers(self, reference: Reference, architecture: str, stack: AsyncExitStack) -> Sequence[Fetched]:
        node = RegistryImage(reference, Platform.of("linux", architecture))
        pinned = (await self._resolver.pinned(node, self._identity)).plan
        _, image = await self._resolver.realise(pinned, self._identity)
        work = stack.enter_context(self._resolver.work_for(pinned, self._identity))
        _, view = await read_document(work, image.closure[image.descriptor.digest])
        assert isinstance(view, Manifest), "it is asked for one platform"
        return [Fetched(await work.path(image.closure[each.digest]), architecture) for each in view.layers]

    @asynccontextmanager
    async def _url(self, layer: LayerSpec, source: UrlSource) -> AsyncIterator[Fetched]:
        digest = source.digest
        origin = FromLocation(source.url, digest)
        with self._store.retention.holding([digest]):
            try:
                blob = await self._store.open(digest, origin.origin, thorough=True)
                if blob is None or isinstance(blob, PartialBlob):
                    blob = await self._fetcher.fetch_layer(origin, digest, None)
                file = (await in_place(self._store, blob, origin.origin, source.url)).path
            except WaveletError as error:
                why = error.message.removeprefix("containerConfig.layers: ")
                raise error.with_message(f"{layer.place}.url: {why}") from None
            yield Fetched(file)
