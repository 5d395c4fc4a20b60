"""Other versions of what makes images, in this process: keys that were made under one are not those of another."""

from __future__ import annotations

import functools

import pytest

from wavelet.plan import canonical
from wavelet.plan.node import Node


def made_by(patch: pytest.MonkeyPatch, node: type[Node], attribute: str, version: int) -> None:
    """Have nodes of a type made by a version until the test ends."""
    patch.setattr(node, attribute, version)
    for name in ("_leaf_key", "_tree_key"):
        patch.setattr(canonical, name, functools.lru_cache(getattr(canonical, name).__wrapped__))
