"""Keepers of records as their backends open them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from wavelet.cluster.records import Lifetimes, Records
from wavelet.cluster.single_node.backend import NodeBackend
from wavelet.cluster.single_node.records import SqliteRecords
from wavelet.plan.canonical import Forms


class Keeper(Records, Protocol):
    """Records, and what their backend alone asks of them."""

    async def expire(self) -> int: ...

    async def close(self) -> None: ...


class OpenedSqliteRecords(SqliteRecords):
    """The records of a single node, with the database that they are in."""

    def __init__(
        self, path: Path, key: bytes, forms: Forms, lifetimes: Lifetimes, clock: Callable[[], float] = time.time
    ) -> None:
        backend = NodeBackend(path, key, forms, lifetimes, clock)
        super().__init__(backend._database, key, forms, lifetimes, clock)
        self._backend = backend

    async def close(self) -> None:
        await self._backend.close()
