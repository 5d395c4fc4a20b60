"""What all tests of this room have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from doubles.registry import Registry


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """Return a registry with a tool, and a base for packages."""
    async with Registry() as running:
        running.add_image("lab/tool", "1")
        running.add_image("lab/base", "1")
        yield running
