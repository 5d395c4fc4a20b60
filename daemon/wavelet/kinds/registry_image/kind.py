"""The kind of images that registries have: tags become digests, and their bytes are served as they are."""

from __future__ import annotations

from wavelet.config import Apply, Settings
from wavelet.image.image import Image
from wavelet.kinds.kind import Kind, Pinned, PinWork, Preparation
from wavelet.kinds.registry_image import make as maker
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.registry_image.tags import Pinner
from wavelet.kinds.work import Work
from wavelet.plan.identity import Identity


class RegistryImages(Kind[RegistryImage]):
    """See the module."""

    node = RegistryImage
    preparation = Preparation.LOOKED_AT

    def __init__(self, tags: Pinner, settings: Settings) -> None:
        self._tags = tags
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Kind`."""

        def apply() -> None:
            self._mislabelled = settings.upstream.mislabelled

        return apply

    def fresh(self, asked: RegistryImage, fixed: RegistryImage, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        return self._tags.fresh(asked, identity)

    async def pin(self, asked: RegistryImage, fixed: RegistryImage, work: PinWork) -> Pinned:
        """See `Kind`."""
        return await self._tags.pin(asked, work.identity)

    def is_doubted(self, asked: RegistryImage) -> bool:
        """See `Kind`."""
        return self._tags.is_doubted(asked)

    async def make(self, node: RegistryImage, work: Work) -> Image:
        """See `Kind`."""
        return await maker.make(node, work, mislabelled=self._mislabelled)
