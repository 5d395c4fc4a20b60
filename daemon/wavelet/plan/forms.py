"""The table of the forms that plans are kept in: which node each tag is of. Whoever reads plans is handed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wavelet.plan.node import Node


class Forms:
    """See the module."""

    def __init__(self, types: Iterable[type[Node]]) -> None:
        """Take the types of nodes that can be read.

        Raises:
            ValueError: two of them have the same tag.
        """
        self._types: dict[str, type[Node]] = {}
        for each in types:
            if each.tag in self._types:
                raise ValueError(f"two kinds of nodes are written as {each.tag!r}")
            self._types[each.tag] = each

    def read(self, value: dict[str, Any]) -> Node:
        """Read a node, with its children.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, InvalidName: it is none of these.
        """
        tags = value.keys() & self._types.keys()
        if len(tags) != 1:
            raise ValueError(f"no kind of node: {sorted(value)[:10]}")
        return self._types[tags.pop()].read(value, self.read)
