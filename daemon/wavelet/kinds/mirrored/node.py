"""An image that is copied to another registry as it is, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from wavelet.image.reference import Reference, Repository
from wavelet.kinds.delivered import DeliveredImage
from wavelet.plan.delivery import Delivery
from wavelet.plan.node import Additions, Label, Node, View, written


@dataclass(frozen=True)
class MirroredImage(DeliveredImage):
    """`image` of a registry, all platforms of it, at `target`, a repository of another one."""

    tag = "mirror"
    additions = Additions.NOWHERE

    target: Repository

    @property
    def delivery(self) -> Delivery:
        """See `Node`."""
        label = self.label
        asked = str(self.target).removesuffix(f"/{label.path}")
        return Delivery("mirror", self.target, "", label.served_as, asked=asked)

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.image.label

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. Where it goes is no part of its bytes."""
        target = {} if view is View.KEY else {"repository": str(self.target)}
        return {"mirror": written(self.image, view)} | target

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        return cls(read(value["mirror"]), Reference.parse(value["repository"]).repository)
