"""The limit of requests that one host gets at a time: slots, which transfers have of their own."""

from __future__ import annotations

import asyncio
import weakref

from wavelet.config import Settings
from wavelet.errors import UpstreamBusy
from wavelet.upstream.endpoints import settings_for
from wavelet.upstream.retry import USUAL_RETRY_AFTER

SLOT_TIMEOUT = 600.0
"""Seconds that a request waits until one of the others to its host ends."""


class HostLimiter:
    """How many requests one host gets at a time. An answer holds its slot until its body is read.

    Transfers have slots of their own: many slow ones must not hold up what takes a moment, such as a manifest.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: weakref.WeakValueDictionary[tuple[str, bool], asyncio.Semaphore] = weakref.WeakValueDictionary()

    def adopt(self, settings: Settings) -> None:
        """Count by other settings; what runs keeps the slots that it has, besides."""
        self._settings = settings
        self._held = weakref.WeakValueDictionary()

    async def take(self, host: str, *, transfer: bool) -> asyncio.Semaphore:
        """Wait for a slot and return what to release.

        Raises:
            UpstreamBusy: none came free in time.
        """
        slot = self._held.get((host, transfer))
        if slot is None:
            slot = self._held[host, transfer] = asyncio.Semaphore(settings_for(self._settings, host).concurrency)
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await slot.acquire()
        except TimeoutError:
            raise UpstreamBusy(
                f"as many requests to {host} as it is set to get at one time have not ended",
                retry_after=USUAL_RETRY_AFTER,
            ) from None
        return slot
