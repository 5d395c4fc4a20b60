"""The kind of published files: what is at a URL is pinned to its version there, fetched once, and answered as a SIF."""

from __future__ import annotations

from wavelet.errors import AccessRefused, UpstreamBroken
from wavelet.image.image import OCI_MANIFEST, Descriptor, Image
from wavelet.kinds.kind import Kind, Pinned, PinWork, Preparation, Work
from wavelet.kinds.sif.manifest import EMPTY_CONFIG, SIF_CONFIG, SIF_LAYER, sif_manifest
from wavelet.kinds.sif.published.files import PublishedFiles
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.plan.tokens import ANONYMOUS, Identity


class PublishedSifs(Kind[PublishedSif]):
    """See the module. It is fetched before a request is ready: its server may not have that version any more."""

    node = PublishedSif
    preparation = Preparation.BUILT

    def __init__(self, files: PublishedFiles) -> None:
        self._files = files

    def fresh(self, asked: PublishedSif, fixed: PublishedSif, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        public = self._files.is_open(asked.url)
        if not public and identity.principal == ANONYMOUS:
            return None  # `pin` says why
        found = self._files.fresh(asked.url) if asked.moves else asked
        return None if found is None else Pinned(found, public)

    async def pin(self, asked: PublishedSif, fixed: PublishedSif, work: PinWork) -> Pinned:
        """See `Kind`."""
        public = self._files.is_open(asked.url)
        if not public and work.identity.principal == ANONYMOUS:
            raise AccessRefused(
                f"{asked.url} is fetched with a login of this site, which is for its users: ask as one of them, not as"
                " nobody in particular"
            )
        return Pinned(await self._files.pin(asked.url, refresh=work.refresh) if asked.moves else asked, public)

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
