"""What all tests of this room have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.node import Node, open_node
from wavelet.hosted.service import HostedServices


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """Return a node of 10 MB."""
    async with open_node(tmp_path / "state", 10_000_000) as made:
        yield made


@pytest.fixture
def hosted(node: Node) -> HostedServices:
    """Return its hosted repositories."""
    return node.hosted
