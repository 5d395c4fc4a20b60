"""An image that goes somewhere once it can be made: what frozen and mirrored ones have in common as nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from wavelet.image.image import IndexEntry
from wavelet.image.reference import Platform
from wavelet.plan.node import Additions, Description, Node


@dataclass(frozen=True)
class DeliveredImage(Node):
    """The base of nodes that say where `image` goes; for whatever an image is, it is that image."""

    is_composite = True
    additions = Additions.BELOW

    image: Node

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.image,)

    def with_children(self, children: Sequence[Node]) -> Self:
        """See `Node`."""
        (image,) = children
        return replace(self, image=image)

    def for_platform(self, platform: Platform | None) -> Self:
        """See `Node`."""
        return replace(self, image=self.image.for_platform(platform))

    def entry(self, entry: IndexEntry) -> Node:
        """See `Node`. Only the index itself goes anywhere by its name: its entries are as they were."""
        return self.image.entry(entry)

    @property
    def description(self) -> Description:
        """See `Node`."""
        return self.image.description

    @property
    def is_file(self) -> bool:
        """See `Node`."""
        return self.image.is_file

    def compressed_by(self, codec: str) -> Self:
        """See `Node`."""
        return replace(self, image=self.image.compressed_by(codec))
