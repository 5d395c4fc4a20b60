"""The pin of a plan, as a value: its parts with digests and locks in place of what moves.

A plan and its pin together are a plan of which nothing moves any more; the same pin makes the same bytes on every node.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wavelet.errors import InvalidRequest
from wavelet.image.digest import Digest
from wavelet.plan.canonical import Forms
from wavelet.plan.node import Node, written
from wavelet.plan.tree import layers, map_layers, moves, one_of_each, parts, walk
from wavelet.plan.view import View


@dataclass(frozen=True, slots=True)
class Pin:
    """What a plan was pinned to.

    Attributes:
        parts: what the plan's `parts` are, in their order; none of them moves.
        maker: what `maker_of` says of the pinned plan.
    """

    parts: tuple[Node, ...]
    maker: str = ""

    @classmethod
    def of(cls, pinned: Node) -> Pin:
        """Return the pin of a plan of which nothing moves."""
        return cls(tuple(parts(pinned)), maker_of(pinned))

    @property
    def name(self) -> str:
        """What stands for it in names: a SHA-256 in hexadecimal, the same for what makes the same bytes."""
        named = [self.maker, *map(_name, self.parts)]
        return Digest.of(json.dumps(named).encode()).hex

    def fix(self, asked: Node) -> Node:
        """Return the plan that was asked for with this pin; the layers of requests are where `asked` says.

        Raises:
            InvalidRequest: it is another plan's pin.
        """
        fixed = one_of_each(asked, self.parts)
        if not any(layer for part in self.parts for layer in layers(part)):
            return fixed
        places = {layer.digest: layer.location for layer in layers(asked)}
        return map_layers(fixed, lambda layer: replace(layer, location=places.get(layer.digest, layer.location)))

    def is_made_otherwise(self, fixed: Node) -> bool:
        """Tell whether another version of wavelet has made what was pinned so; `fixed` is the plan with this pin."""
        # Of a pin that says nothing all makers were the first ones, or said nothing then.
        return self.maker != maker_of(fixed) if self.maker else any(node.version > 1 for node in walk(fixed))

    def encode(self, asked: Node) -> dict[str, Any]:
        """Return it as JSON; a part that is as it was `asked` for is null."""
        both = zip(self.parts, parts(asked), strict=True)
        parts_written = [None if part == was else written(part, View.RECORD) for part, was in both]
        return {"parts": parts_written} | ({"maker": self.maker} if self.maker else {})

    @classmethod
    def decode(cls, value: Mapping[str, Any], asked: Node, forms: Forms) -> Pin:
        """Read what `encode` wrote for the same plan.

        Raises:
            InvalidRequest: something else, or a pin that is none.
            TypeError, KeyError, ValueError: likewise.
        """
        both = zip(value["parts"], parts(asked), strict=True)
        fixed = tuple(was if part is None else forms.read(part) for part, was in both)
        if any(moves(part) or part.is_composite for part in fixed):
            raise InvalidRequest("not a pin: something in it moves")
        return cls(fixed, str(value.get("maker", "")))


def maker_of(plan: Node) -> str:
    """Return with what version of wavelet's code a pinned plan is made, as far as that is not the first one."""
    makers = {node.maker or (f"{node.tag} {node.version}" if node.version > 1 else "") for node in walk(plan)}
    return ", ".join(sorted(makers - {""}))


@functools.lru_cache(maxsize=128)
def _name(part: Node) -> str:
    # Kept by value: a lock of hundreds of packages is asked for again and again.
    return Digest.of(json.dumps(written(part, View.NAME), sort_keys=True).encode()).hex
