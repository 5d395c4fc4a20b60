"""The kind of indexes."""

from __future__ import annotations

from wavelet.image.image import Image
from wavelet.kinds.index import make as maker
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.kind import Kind, Work


class ImageIndexes(Kind[ImageIndex]):
    """See the module."""

    node = ImageIndex

    async def make(self, node: ImageIndex, work: Work) -> Image:
        """See `Kind`."""
        return await maker.make(node, work)
