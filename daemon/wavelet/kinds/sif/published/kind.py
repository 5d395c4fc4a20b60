"""The kind of published files: what is at a URL is pinned to its version there, fetched once, and answered as a SIF."""

from __future__ import annotations

from wavelet.errors import UpstreamBroken
from wavelet.image.image import OCI_MANIFEST, Descriptor, Image
from wavelet.kinds.kind import Kind, Pinned, PinWork, Preparation, Work
from wavelet.kinds.sif.manifest import EMPTY_CONFIG, SIF_CONFIG, SIF_LAYER, sif_manifest
from wavelet.kinds.sif.published.files import PublishedFiles
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.plan.tokens import Identity


class PublishedSifs(Kind[PublishedSif]):
    """See the module. It is fetched before a request is ready: its server may not have that version any more."""

    node = PublishedSif
    preparation = Preparation.BUILT

    def __init__(self, files: PublishedFiles) -> None:
        self._files = files

    def fresh(self, asked: PublishedSif, fixed: PublishedSif, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        found = self._files.fresh(asked.url) if asked.moves else asked
        return None if found is None else Pinned(found, public=self._files.is_open(asked.url))

    async def pin(self, asked: PublishedSif, fixed: PublishedSif, work: PinWork) -> Pinned:
        """See `Kind`."""
        found = await self._files.pin(asked.url, refresh=work.refresh) if asked.moves else asked
        return Pinned(found, public=self._files.is_open(asked.url))

    async def make(self, node: PublishedSif, work: Work) -> Image:
        """See `Kind`."""
        async with work.scratch(node.size) as directory:
            file = directory / "file"
            digest = await self._files.write(node, file)
            layer = await work.adopt(file, Descriptor(SIF_LAYER, digest, node.size))
        config = await work.keep(EMPTY_CONFIG, SIF_CONFIG)
        own = await work.keep(sif_manifest(layer.descriptor, node.file_name), OCI_MANIFEST)
        return Image.of(own.descriptor, [own, config, layer])

    async def reconsider(self, node: PublishedSif, error: UpstreamBroken) -> bool:
        """See `Kind`. What has changed since it was pinned is pinned anew."""
        return True
