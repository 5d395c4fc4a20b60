"""The canonical form of plans: what names, keys and records are made of; and the pin, what a plan was pinned to.

`canonical` is what names are made of: equal requests have equal bytes, on every node, whatever client sent them. It
leaves out what may differ between equal requests, above all where a layer's bytes come from. `encode` is the same with
nothing left out, so that a record can be read back. Both carry `VERSION`.

A plan and its pin together are a plan of which nothing moves any more; the same pin makes the same bytes on every node.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from wavelet.errors import InvalidName, InvalidRequest, NewerForm
from wavelet.image.reference import Digest
from wavelet.plan.node import Node, View, layers, map_layers, map_parts, moves, parts, walk, written

VERSION = 1
"""The form. It changes with what equal requests are, or with what a reader has to know; then the plans that the older
form can say keep that form and so their names, and only those that it cannot say get the newer one."""


PLANS_HELD = 64
"""Plans whose bytes and keys are kept, by value: one request asks for them again and again. Some are long."""


class Forms:
    """The table of the forms that plans are kept in: which node each tag is of. Whoever reads plans is handed it."""

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


@functools.lru_cache(maxsize=PLANS_HELD)
def canonical(plan: Node) -> bytes:
    """Return the bytes that stand for `plan` in names."""
    return _write({"version": VERSION, "plan": written(plan, View.NAME)})


def encode(plan: Node) -> bytes:
    """Return `plan` as JSON, with the locations of its layers."""
    return _write({"version": VERSION, "plan": written(plan, View.RECORD)})


def key(plan: Node) -> str:
    """Return the memo key of a plan: a SHA-256 over all of it, locations included, in hexadecimal."""
    return _tree_key(plan) if plan.children or plan.inputs else _leaf_key(plan)


@functools.lru_cache(maxsize=4096)
def _leaf_key(plan: Node) -> str:
    # Leaves are small, and there are many.
    return _key(plan)


@functools.lru_cache(maxsize=PLANS_HELD)
def _tree_key(plan: Node) -> str:
    return _key(plan)


def _key(plan: Node) -> str:
    # Without the sizes of packages: a lock says them or not, and it is the same lock.
    return Digest.of(_write({"version": VERSION, "plan": written(plan, View.KEY)})).hex


def decode(data: bytes, forms: Forms) -> Node:
    """Read what `encode` wrote.

    Raises:
        NewerForm: a newer version's.
        InvalidRequest: not a plan at all.
    """
    with reading("a plan"):
        document = msgspec.json.decode(data)
        check_form(document, VERSION)
        if int(document["version"]) != VERSION:
            raise InvalidRequest(f"there is no form {document['version']} of plans")
        return forms.read(document["plan"])


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Say of a document that cannot be read that it is not `what`.

    Raises:
        InvalidRequest: what is read inside is something else.
    """
    try:
        yield
    except (InvalidName, msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"not {what}: {error!r}") from None


def check_form(document: Mapping[str, Any], known: int) -> None:
    """Return if a document that is kept has a form of up to `known`; a later one says in `needs` who reads it.

    Raises:
        NewerForm: a newer version has written it.
        KeyError, TypeError, ValueError: it is no such document.
    """
    form = int(document["version"])
    if form > known:
        needs = document.get("needs")
        reader = f"this one reads up to form {known}"
        if isinstance(needs, str):
            reader = f"wavelet {needs[:40]} or newer reads it"
        raise NewerForm(
            f"it was made by a newer wavelet (form {form}; {reader}); bring this node to the version of the others"
        )


def _write(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


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
        fixed = _one_of_each(asked, self.parts)
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


def _one_of_each(plan: Node, fixed: tuple[Node, ...]) -> Node:
    """Return the plan with `fixed` in place of its `parts`, in their order.

    Raises:
        InvalidRequest: it has other parts.
    """
    if len(fixed) != len(list(parts(plan))):
        raise InvalidRequest("not the pin of this plan: it has other parts")
    rest = iter(fixed)
    return map_parts(plan, lambda _: next(rest))
