"""Walks over the tree that a plan is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wavelet.errors import InvalidRequest
from wavelet.image.digest import Digest
from wavelet.image.reference import Repository
from wavelet.plan.layers import INLINE, Layer
from wavelet.plan.node import Node


def walk(plan: Node) -> Iterator[Node]:
    """Yield every node, each before its children."""
    yield plan
    for child in plan.children:
        yield from walk(child)


def parts(plan: Node) -> Iterator[Node]:
    """Yield every node that is pinned by itself and not by its children: what a pin says of the plan."""
    if plan.is_composite:
        for child in plan.children:
            yield from parts(child)
    else:
        yield plan


def leaves(plan: Node) -> Iterator[Node]:
    """Yield every node that stands on no other."""
    return (node for node in walk(plan) if not node.children)


def source(plan: Node) -> Node:
    """Return the node at the bottom: that of which the image is called."""
    return next(leaves(plan))


def source_digest(plan: Node) -> Digest | None:
    """Return the digest of the image at the bottom, where the plan says one."""
    return source(plan).digest


def repositories(plan: Node) -> Iterator[Repository]:
    """Yield every repository that an upstream registry has to answer for."""
    for node in walk(plan):
        if node.repository is not None:
            yield node.repository


def layers(plan: Node) -> Iterator[Layer]:
    """Yield every layer that the request itself names."""
    for node in walk(plan):
        yield from node.inputs


def moves(plan: Node) -> bool:
    """Tell whether anything in the plan may become something else with time."""
    return any(node.moves for node in walk(plan))


def map_parts(plan: Node, change: Callable[[Node], Node]) -> Node:
    """Return the plan with each of its `parts` replaced by what `change` makes of it."""
    if not plan.is_composite:
        return change(plan)
    return plan.with_children([map_parts(child, change) for child in plan.children]) if plan.children else plan


def map_leaves(plan: Node, change: Callable[[Node], Node]) -> Node:
    """Return the plan with each of its `leaves` replaced by what `change` makes of it."""
    if not plan.children:
        return change(plan)
    return plan.with_children([map_leaves(child, change) for child in plan.children])


def map_layers(plan: Node, change: Callable[[Layer], Layer | None]) -> Node:
    """Return the plan with each layer that the request names replaced, or left out for None."""
    if plan.children:
        plan = plan.with_children([map_layers(child, change) for child in plan.children])
    changed = [change(layer) for layer in plan.inputs]
    return plan.with_inputs([layer for layer in changed if layer is not None]) if changed else plan


def without_unkept(plan: Node) -> Node:
    """Return the plan without layers whose bytes are in the request only: nobody can read these yet."""
    return map_layers(plan, lambda layer: None if layer.location == INLINE else layer)


def one_of_each(plan: Node, fixed: tuple[Node, ...]) -> Node:
    """Return the plan with `fixed` in place of its `parts`, in their order.

    Raises:
        InvalidRequest: it has other parts.
    """
    if len(fixed) != len(list(parts(plan))):
        raise InvalidRequest("not the pin of this plan: it has other parts")
    rest = iter(fixed)
    return map_parts(plan, lambda _: next(rest))
