"""The backend of a node by itself: a database of requests and claims, and no secrets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from wavelet.cluster.publish import make_directory
from wavelet.cluster.records import Lifetimes
from wavelet.cluster.single_node import records
from wavelet.cluster.single_node.records import SqliteClaims, SqliteRecords
from wavelet.config import Apply, Settings
from wavelet.plan.canonical import Forms
from wavelet.store.opening import open_kept

CONTENT = "the container requests of this node, and what its names stand for"
"""What is lost with the file."""


class NodeBackend:
    """See `wavelet.cluster.backend.ClusterBackend`."""

    secrets = None

    def __init__(
        self, path: Path, key: bytes, forms: Forms, lifetimes: Lifetimes, clock: Callable[[], float] = time.time
    ) -> None:
        """Open or make the file. Blocking: for the start.

        Args:
            path: the file, readable by its owner alone.
            key: the cluster's.
            forms: those in which plans are kept.
            lifetimes: of records after their last use.
            clock: gives unix seconds.

        Raises:
            ConfigError: the directory is on a network file system.
            NoSpace, OurError: the file cannot be used, and what to do.
        """
        path = path.absolute()
        make_directory(path.parent)
        self.key = key
        self._database = open_kept(path, records.SCHEMA + records.CLAIMS_SCHEMA, CONTENT)
        self.records = SqliteRecords(self._database, key, forms, lifetimes, clock)
        self.claims = SqliteClaims(self._database, key, clock)

    def configure(self, settings: Settings) -> Apply:
        """See `ClusterBackend.configure`."""
        return lambda: self.records.keep_for(Lifetimes.of(settings))

    async def expire(self) -> int:
        """See `ClusterBackend.expire`."""
        return await self.records.expire() + await self.claims.expire()

    async def check(self) -> None:
        """See `ClusterBackend.check`."""
        self.records.check()

    async def close(self) -> None:
        """See `ClusterBackend.close`."""
        await asyncio.to_thread(self._database.close)
