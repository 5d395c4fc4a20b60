"""The node of a plan: what is asked for, as a value. Everything that wavelet serves is made of one.

A plan is a tree of nodes, and a node may stand on any other that yields an image. Each kind of node has a class of its
own in its room under `kinds/`; nothing here knows one of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from wavelet.image.digest import Digest
from wavelet.image.manifest import IndexEntry
from wavelet.image.platform import Platform
from wavelet.image.reference import Repository
from wavelet.plan.description import Description
from wavelet.plan.label import Label
from wavelet.plan.layers import Layer
from wavelet.plan.view import View


class Node:
    """The base of all nodes; each is a frozen dataclass, whose fields tell it from others.

    Attributes:
        tag: the member that marks it in the canonical form; no other kind has a member of this name.
        version: of what makes it: part of its key, and of names by its pin; left out of both while it is 1. Whoever
            changes a byte of what older versions have made counts it up.
        maker: what pins say of what makes it, where that is more than the version; empty: nothing.
        is_composite: whether it is pinned by its children being pinned, and by nothing else.
    """

    __slots__ = ()

    tag: ClassVar[str]
    version: ClassVar[int] = 1
    maker: ClassVar[str] = ""
    is_composite: ClassVar[bool] = False

    @property
    def children(self) -> tuple[Node, ...]:
        """What it is put together of; they are pinned with it."""
        return ()

    def with_children(self, children: Sequence[Node]) -> Node:
        """Return it with others in place of its `children`, as many of them."""
        return self

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """The layers that a request adds by it; not those that its children add."""
        return ()

    def with_inputs(self, inputs: Sequence[Layer]) -> Node:
        """Return it with other layers in place of its `inputs`: what is below it, where that leaves nothing of it."""
        return self

    def for_platform(self, platform: Platform | None) -> Node:
        """Return it for one platform of several, or for what there is; where it is for one alone, it stays as it is."""
        return self

    def entry(self, entry: IndexEntry) -> Node:
        """Return the node of an entry of the index that its image is."""
        return self.for_platform(entry.platform)

    @property
    def moves(self) -> bool:
        """Whether it may become something else with time: it is not pinned."""
        return False

    @property
    def repository(self) -> Repository | None:
        """The repository of a registry that has to answer for it."""
        return None

    @property
    def digest(self) -> Digest | None:
        """The digest of what it stands for, where it says one."""
        return None

    @property
    def label(self) -> Label:
        """What its image is called."""
        raise NotImplementedError(f"{self.tag}: no name stands for it")

    @property
    def description(self) -> Description:
        """What is asked for by it, as those see it who ask."""
        return Description()

    def write(self, view: View) -> dict[str, Any]:
        """Return it as JSON, under `tag` and other members; children as `written` has them."""
        raise NotImplementedError

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """Read what `write` returned for a record; `read` is for its children.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, InvalidName: it is something else.
        """
        raise NotImplementedError


def written(node: Node, view: View) -> dict[str, Any]:
    """Return a node as JSON, with the version of what makes it where that takes part."""
    version = {"maker": node.version} if view is View.KEY and node.version > 1 else {}
    return node.write(view) | version
