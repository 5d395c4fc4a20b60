"""Plans changed as tests need them."""

from __future__ import annotations

from collections.abc import Callable

from wavelet.plan.node import Node


def map_leaves(plan: Node, change: Callable[[Node], Node]) -> Node:
    """Return the plan with each of its `leaves` replaced by what `change` makes of it."""
    if not plan.children:
        return change(plan)
    return plan.with_children([map_leaves(child, change) for child in plan.children])
