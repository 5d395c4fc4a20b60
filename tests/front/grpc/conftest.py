"""Fixtures of the gRPC door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doubles.grpc_door import Door, open_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Return an open door."""
    async with open_door(tmp_path) as opened:
        yield opened
