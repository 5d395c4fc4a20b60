"""Fixtures: stores on a directory of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opened import LIMIT, Opened


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Callable[..., Opened]]:
    """Return a function that opens the test's store; all that were opened are shut at the end."""
    async with AsyncExitStack() as stack:

        def opened(limit: int = LIMIT, directory: Path = tmp_path) -> Opened:
            store = Opened(directory, limit)
            stack.push_async_callback(store.close)
            stack.callback(store.database.close)
            return store

        yield opened


@pytest.fixture
async def store(open_store: Callable[..., Opened]) -> Opened:
    return open_store()
