"""What a plan was pinned to, as a value: its parts with digests and locks in place of what moves.

A plan and its pin together are a plan of which nothing moves any more; the same pin makes the same bytes on every node.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavelet.errors import InvalidRequest
from wavelet.image.digest import Digest
from wavelet.plan.canonical import read_part, write_part
from wavelet.plan.conda import IMAGE_MAKER, LINKER, FromConda, FromLock
from wavelet.plan.plan import Base, Plan, map_parts, parts
from wavelet.plan.view import View

MAKER = f"{IMAGE_MAKER}.{LINKER}"
"""With what version of wavelet's code images of packages are made: the bytes depend on it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What a plan was pinned to.

    Attributes:
        parts: what the plan's `parts` are, in their order; none of them moves.
        maker: the `MAKER` of images of packages; empty where there are none.
    """

    parts: tuple[Base, ...]
    maker: str = ""

    @classmethod
    def of(cls, pinned: Plan) -> Pin:
        """Return the pin of a plan of which nothing moves."""
        fixed = tuple(parts(pinned))
        return cls(fixed, MAKER if any(isinstance(part, FromLock) for part in fixed) else "")

    @property
    def name(self) -> str:
        """What stands for it in names: a SHA-256 in hexadecimal, the same for what makes the same bytes."""
        named = [self.maker, *map(_name, self.parts)]
        return Digest.of(json.dumps(named).encode()).hex

    def fix(self, asked: Plan) -> Plan:
        """Return the plan that was asked for with this pin.

        Raises:
            InvalidRequest: it is another plan's pin.
        """
        if len(self.parts) != len(list(parts(asked))):
            raise InvalidRequest("not the pin of this plan: it has other parts")
        rest = iter(self.parts)
        return map_parts(asked, lambda _: next(rest))

    def encode(self, asked: Plan) -> dict[str, Any]:
        """Return it as JSON; a part that is as it was `asked` for is null."""
        both = zip(self.parts, parts(asked), strict=True)
        written = [None if part == was else write_part(part, view=View.RECORD) for part, was in both]
        return {"parts": written} | ({"maker": self.maker} if self.maker else {})

    @classmethod
    def decode(cls, value: Mapping[str, Any], asked: Plan) -> Pin:
        """Read what `encode` wrote for the same plan.

        Raises:
            InvalidRequest: something else, or a pin that is none.
            TypeError, KeyError, ValueError: likewise.
        """
        both = zip(value["parts"], parts(asked), strict=True)
        fixed = tuple(was if part is None else read_part(part) for part, was in both)
        if not all(_stands_still(part) for part in fixed):
            raise InvalidRequest("not a pin: something in it moves")
        return cls(fixed, str(value.get("maker", "")))


@functools.lru_cache(maxsize=128)
def _name(part: Base) -> str:
    # Kept by value: a lock of hundreds of packages is asked for again and again.
    return Digest.of(json.dumps(write_part(part, view=View.NAME), sort_keys=True).encode()).hex


def _stands_still(part: Base) -> bool:
    if isinstance(part, FromConda):
        return False
    source = part.base if isinstance(part, FromLock) else part
    return source.reference.digest is not None
