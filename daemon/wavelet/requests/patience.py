"""The time for which what may pass is tried again before it counts as a failure, wherever somebody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import structlog

from wavelet.config import Apply, Settings
from wavelet.errors import WaveletError

AGAIN = 1.0
"""Seconds after a failure until the same is tried again."""

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(slots=True)
class Patience:
    """The bound, in seconds."""

    seconds: float = 30.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return that of the settings."""
        patience = cls()
        patience.configure(settings)()
        return patience

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`."""

        def apply() -> None:
            self.seconds = settings.upstream.patience

        return apply

    def left(self, error: WaveletError, since: float) -> float:
        """Return for how many seconds more it is tried again what failed with `error`; 0.0 for a definite no.

        `since` is when it was asked for, by the monotonic clock. Who says to come back later than that ends it at once.
        """
        left = self.seconds - (time.monotonic() - since)
        return left if error.passing and (error.retry_after or 0.0) <= left else 0.0

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return what `question` brings, asked again while its failures may pass.

        Raises:
            WaveletError: a definite no, or the last failure.
        """
        since = time.monotonic()
        said = ""
        while True:
            try:
                return await question()
            except WaveletError as error:
                left = self.left(error, since)
                if left <= 0:
                    raise
                if error.message != said:
                    log.info("tried again", because=error.message, seconds=round(left, 1))
                said = error.message
            await asyncio.sleep(AGAIN)
