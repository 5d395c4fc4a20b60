"""The kind of mirrored images: they are what the registry has. Copying them is done once that is known."""

from __future__ import annotations

from wavelet.image.image import Image
from wavelet.kinds.kind import Kind, Work
from wavelet.kinds.mirrored.node import MirroredImage


class MirroredImages(Kind[MirroredImage]):
    """See the module."""

    node = MirroredImage

    async def make(self, node: MirroredImage, work: Work) -> Image:
        """See `Kind`."""
        return await work.realise(node.image)
