"""An image as a SIF, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wavelet.archive.squashfs.codecs import CODECS, installed
from wavelet.image.image import IndexEntry
from wavelet.image.reference import Platform, Repository
from wavelet.plan.delivery import Delivery
from wavelet.plan.node import Additions, Description, Label, Node, View, written


@dataclass(frozen=True, slots=True)
class SifImage(Node):
    """`image` as one file that Apptainer and Singularity run.

    Attributes:
        image: of which it is made.
        platform: which one of it, where it is for several.
        codec: how its content is compressed.
    """

    tag = "sif"
    is_composite = True
    additions = Additions.BELOW

    image: Node
    platform: Platform
    codec: str = "gzip"

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.image,)

    def with_children(self, children: Sequence[Node]) -> SifImage:
        """See `Node`."""
        (image,) = children
        return replace(self, image=image)

    def entry(self, entry: IndexEntry) -> Node:
        """See `Node`. A SIF is no index."""
        return self

    @property
    def delivery(self) -> Delivery | None:
        """See `Node`. Of a mirrored image the SIF is answered, and the image is copied."""
        return self.image.delivery

    def delivered_to(self, repository: Repository) -> SifImage:
        """See `Node`."""
        return replace(self, image=self.image.delivered_to(repository))

    @property
    def is_file(self) -> bool:
        """See `Node`."""
        return True

    def compressed_by(self, codec: str) -> SifImage:
        """See `Node`."""
        return replace(self, codec=codec)

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.image.label.of_changed()

    @property
    def description(self) -> Description:
        """See `Node`."""
        return replace(self.image.description, is_built=True)

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. For the bytes it is of no matter where else the image goes, and for what others it is."""
        platform = str(self.platform)
        if view is not View.KEY:
            return {"sif": written(self.image, view), "platform": platform, "codec": self.codec}
        image = self.image if self.image.delivery is None else self.image.children[0]
        codec = installed(self.codec)
        return {
            "sif": written(image.for_platform(self.platform), view),
            "platform": platform,
            "codec": [codec.name, codec.implementation, codec.level],
        }

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        if value["codec"] not in CODECS:
            raise ValueError(value["codec"])
        return cls(read(value["sif"]), Platform.parse(value["platform"]), value["codec"])
