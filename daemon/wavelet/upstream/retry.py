"""Retries: when a request is repeated, how many run at one host at once, and what rests for a while."""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from cachetools import TLRUCache

from wavelet.config import Settings
from wavelet.errors import UpstreamBusy, UpstreamUnreachable
from wavelet.upstream.endpoints import settings_for

ATTEMPTS = 3
"""Times that one request is made at most, the first included."""

RETRY_AFTER_LIMIT = 10.0
"""The longest Retry-After (seconds) that is waited for; a longer one is passed on to the caller."""

USUAL_RETRY_AFTER = 5.0
"""Seconds that a caller is told to wait where the registry says nothing."""

_CHANCE = random.SystemRandom()
_T = TypeVar("_T")


class ConnectionBroke(UpstreamUnreachable):
    """A connection that was lost for a moment's reason; the same request may be made again at once."""

    reason = "CONNECTION_BROKE"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often something is tried, and how long is waited in between.

    Attributes:
        attempts: times at most, the first included.
        first_delay: seconds before the second attempt.
        factor: how many times longer each further delay is.
    """

    attempts: int
    first_delay: float
    factor: float

    def delay(self, attempt: int, asked: float | None = None) -> float | None:
        """Return the seconds to wait after the failed `attempt` (from 1), or None where it was the last.

        `asked` is the registry's Retry-After. A little chance keeps many nodes from coming back at the same moment.
        """
        if attempt >= self.attempts or (asked is not None and asked > RETRY_AFTER_LIMIT):
            return None
        return max(self.first_delay * self.factor ** (attempt - 1) * _CHANCE.uniform(0.8, 1.2), asked or 0.0)


REQUESTS = RetryPolicy(ATTEMPTS, first_delay=0.25, factor=3.0)
"""How requests are repeated."""


def is_passing(status: int) -> bool:
    """Tell whether a status says "not now": 408, 429, and 5xx but for those about the request itself."""
    return status in (408, 429) or (500 <= status < 600 and status not in (501, 505))


def retry_after(header: str | None, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3) as seconds from `now` (Unix time); None where it says nothing."""
    text = (header or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


async def repeated(
    once: Callable[[], Awaitable[_T]],
    attempts: int = ATTEMPTS,
    *,
    on: tuple[type[UpstreamBusy | ConnectionBroke], ...] = (UpstreamBusy, ConnectionBroke),
) -> _T:
    """Do `once`, at most `attempts` times while the server says "not now" or the connection is lost.

    `on` narrows that down: where a part of `once` repeats itself what is busy, only what comes after it is left.

    Raises:
        UpstreamBusy, ConnectionBroke: so did the last attempt; `retry_after` says when to come again.
        WaveletError: whatever else `once` raises.
    """
    attempt = 1
    while True:
        try:
            return await once()
        except on as error:
            asked = error.retry_after if isinstance(error, UpstreamBusy) else None
            wait = REQUESTS.delay(attempt, asked) if attempt < attempts else None
            if wait is None:
                error.retry_after = USUAL_RETRY_AFTER if error.retry_after is None else error.retry_after
                raise
        await asyncio.sleep(wait)
        attempt += 1


SLOT_TIMEOUT = 600.0
"""Seconds that a request waits until one of the others to its host ends."""


Traffic = Literal["download", "upload", "other"]


class HostLimiter:
    """How many requests one host gets at a time. An answer holds its slot until its body is read.

    Transfers have slots of their own: many slow ones must not hold up what takes a moment, such as a manifest; and what
    is sent to a host may come from the same one, so that neither waits for the other's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: weakref.WeakValueDictionary[tuple[str, Traffic], asyncio.Semaphore] = weakref.WeakValueDictionary()

    def adopt(self, settings: Settings) -> None:
        """Count by other settings; what runs keeps the slots that it has, besides."""
        self._settings = settings
        self._held = weakref.WeakValueDictionary()

    async def take(self, host: str, traffic: Traffic) -> asyncio.Semaphore:
        """Wait for a slot and return what to release.

        Raises:
            UpstreamBusy: none came free in time.
        """
        slot = self._held.get((host, traffic))
        if slot is None:
            slot = self._held[host, traffic] = asyncio.Semaphore(settings_for(self._settings, host).concurrency)
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await slot.acquire()
        except TimeoutError:
            raise UpstreamBusy(
                f"as many requests to {host} as it is set to get at one time have not ended",
                retry_after=USUAL_RETRY_AFTER,
            ) from None
        return slot


K = TypeVar("K", bound=Hashable)


class ExpiringSet(Generic[K]):
    """At most `size` members; where one more is added, the one that was put in first leaves."""

    def __init__(self, size: int = 4096) -> None:
        self._until: TLRUCache[K, float] = TLRUCache(size, ttu=lambda _key, until, _: until, timer=_now)

    def add(self, key: K, seconds: float) -> None:
        """Make a key a member, for so long from now on."""
        self._until[key] = time.monotonic() + seconds

    def discard(self, key: K) -> None:
        """Let a key be no member any more."""
        self._until.pop(key, None)

    def clear(self) -> None:
        """Let there be no members."""
        self._until.clear()

    def __contains__(self, key: K) -> bool:
        return key in self._until


def _now() -> float:
    return time.monotonic()  # looked up each time: a test may set the clock after the set was made
