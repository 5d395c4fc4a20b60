"""The upkeep of a daemon's services: they are closed in the end, take new settings, and forget what is too old."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Protocol

import structlog

from wavelet.cluster.backend import ClusterBackend
from wavelet.config import Configurable
from wavelet.errors import WaveletError

log = structlog.get_logger()

EXPIRY_INTERVAL = 3600.0
"""Seconds between two looks for what is past its lifetime."""


class Expires(Protocol):
    """What forgets by age."""

    def expire(self) -> None:
        """Forget what is too old to be of use."""


class Upkeep:
    """What is done with services once they are built; each is named here by whoever builds it.

    Attributes:
        stack: closes them, the last that was built first.
        configurable: those that a reload hands new settings, in the order in which they were built.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.configurable: list[Configurable] = []
        self._expiring: list[Expires] = []

    def add_configurable(self, *services: Configurable) -> None:
        """Have services take new settings."""
        self.configurable.extend(services)

    def add_expiring(self, *services: Expires) -> None:
        """Have services forget what is too old, once an hour."""
        self._expiring.extend(services)

    async def run(self, cluster: ClusterBackend) -> None:
        """Have all forget, and the backend too, until this is cancelled."""
        while True:
            for service in self._expiring:
                service.expire()
            try:
                count = await cluster.expire()
                if count:
                    log.info("expired", records=count)
            except WaveletError as error:
                log.warning("what has expired could not be removed", because=error.message)
            await asyncio.sleep(EXPIRY_INTERVAL)
