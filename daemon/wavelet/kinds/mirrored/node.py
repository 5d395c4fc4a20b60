"""An image that is copied to another registry as it is, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wavelet.image.image import IndexEntry
from wavelet.image.reference import Platform, Reference, Repository
from wavelet.plan.delivery import Delivery
from wavelet.plan.node import Description, Label, Node, View, written


@dataclass(frozen=True, slots=True)
class MirroredImage(Node):
    """`image` of a registry, all platforms of it, at `repository` of another one."""

    tag = "mirror"
    is_composite = True

    image: Node
    repository: Repository

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.image,)

    def with_children(self, children: Sequence[Node]) -> MirroredImage:
        """See `Node`."""
        (image,) = children
        return replace(self, image=image)

    def for_platform(self, platform: Platform | None) -> MirroredImage:
        """See `Node`."""
        return replace(self, image=self.image.for_platform(platform))

    def entry(self, entry: IndexEntry) -> Node:
        """See `Node`."""
        return self.image.entry(entry)

    @property
    def delivery(self) -> Delivery:
        """See `Node`."""
        label = self.label
        asked = str(self.repository).removesuffix(f"/{label.path}")
        return Delivery("mirror", self.repository, "", label.served_as, asked=asked)

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.image.label

    @property
    def description(self) -> Description:
        """See `Node`."""
        return self.image.description

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. Where it goes is no part of its bytes."""
        target = {} if view is View.KEY else {"repository": str(self.repository)}
        return {"mirror": written(self.image, view)} | target

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        return cls(read(value["mirror"]), Reference.parse(value["repository"]).repository)
