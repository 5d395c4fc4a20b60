"""The kind of augmented images."""

from __future__ import annotations

from wavelet.image.image import Image
from wavelet.kinds.augment import make as maker
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.kind import Kind, Work


class AugmentedImages(Kind[AugmentedImage]):
    """See the module."""

    node = AugmentedImage

    async def make(self, node: AugmentedImage, work: Work) -> Image:
        """See `Kind`."""
        return await maker.make(node, work)
