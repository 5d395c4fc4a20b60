"""The tracking of requests: looked at, watched, asked for anew. Who looks has the work begin where that is due.

A node that has never seen a token (another one answered the POST, or this one has restarted) starts the work again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from wavelet.kinds.kind import Pinned
from wavelet.plan.tokens import Identity
from wavelet.requests.binding import Bindings
from wavelet.requests.lookup import RequestLookup
from wavelet.requests.progress import Pending, Running, Step
from wavelet.requests.request_cache import CachedRequest, Status
from wavelet.resolve.events import Event
from wavelet.resolve.job import Job, asking

LOOK = 0.1
"""Seconds between two looks at a request that is waited for."""


class RequestTracker:
    """Tells how far requests are."""

    def __init__(self, lookup: RequestLookup, bindings: Bindings) -> None:
        self._lookup = lookup
        self._bindings = bindings

    async def status(self, token: str, identity: Identity, *, keep: bool = True) -> Status:
        """Return how far a request is; start the work if need be. `keep` is as `Options` has it.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        cached = await self._lookup.visible(token, identity)
        if cached.progress.is_unknown and self._bindings.prepared(cached.request):
            cached.progress.pulled()  # of before a restart, or another node's: nothing is left to do
        state = await cached.progress.state(self._beginner(cached, keep=keep))
        if keep and cached.progress.job is not None:
            cached.progress.job.keep()
        return cached.status(state)

    async def running(self, token: str, identity: Identity) -> Running | None:
        """Return what is being done for a request now, where something is. See `status` for the errors."""
        return (await self._lookup.visible(token, identity)).progress.running

    async def settled(
        self, token: str, identity: Identity, wait: float, enough: Callable[[Status], bool] = lambda _: False
    ) -> Status:
        """Return how far a request is once it is ready, has failed or is `enough`, or after `wait` seconds.

        See `status` for the errors.
        """
        until = time.monotonic() + wait
        status = await self.status(token, identity)
        while isinstance(status.state, Pending) and not enough(status) and time.monotonic() < until:
            await asyncio.sleep(LOOK)
            status = await self.status(token, identity)
        return status

    async def ask_again(self, token: str, identity: Identity) -> Status:
        """Ask anew for what a token stands for, if it is not ready. See `status` for the errors."""
        cached = await self._lookup.visible(token, identity)
        cached.progress.submitted(None)
        return await self.status(token, identity)

    async def watch(self, token: str, identity: Identity) -> AsyncGenerator[Event | Step, None]:
        """Yield how the work for a request goes, from its start until it is ready, and its steps; start it if need be.

        Whoever watches waits for it: when the last one goes away, the work ends, unless somebody asked to keep it.
        Close this at the end (`contextlib.aclosing`), or it counts as watching for a while longer.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            WaveletError: there will be no image, for this reason.
        """
        cached = await self._lookup.visible(token, identity)
        async with contextlib.aclosing(cached.progress.watch(self._beginner(cached, keep=False))) as events:
            async for event in events:
                yield event

    def _beginner(self, cached: CachedRequest, *, keep: bool) -> Callable[[], Awaitable[Job[Pinned]]]:
        async def begin() -> Job[Pinned]:
            with asking(keep=keep):
                return await self._bindings.prepare(cached)

        return begin
