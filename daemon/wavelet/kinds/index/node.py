"""Several platforms under one name, as a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wavelet.image.reference import Platform
from wavelet.plan.node import Additions, Description, Label, Node, View, written


@dataclass(frozen=True, slots=True)
class ImageIndex(Node):
    """Several platforms under one name: an index of exactly these."""

    tag = "index"
    is_composite = True
    additions = Additions.BELOW

    members: tuple[tuple[Platform, Node], ...]

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return tuple(member for _, member in self.members)

    def with_children(self, children: Sequence[Node]) -> ImageIndex:
        """See `Node`."""
        return ImageIndex(tuple((platform, new) for (platform, _), new in zip(self.members, children, strict=True)))

    def for_platform(self, platform: Platform | None) -> Node:
        """See `Node`."""
        return next((member for each, member in self.members if each == platform), self)

    @property
    def label(self) -> Label:
        """See `Node`."""
        return self.members[0][1].label.of_changed()

    @property
    def description(self) -> Description:
        """See `Node`."""
        members = [member.description for member in self.children]
        platforms = tuple(platform for platform, _ in self.members)
        return replace(members[0], platforms=platforms, is_built=any(member.is_built for member in members))

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        return {"index": {str(platform): written(member, view) for platform, member in self.members}}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        return cls(tuple((Platform.from_text(text), read(member)) for text, member in value["index"].items()))
