"""The need that there is of the daemon: requests that are being answered, and when the last one was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOKS = 10
"""How often, within the time after which the daemon counts as idle, it is looked whether work goes on by itself."""

PATH_SHOWN = 120
"""Characters of a request's path that are shown of it."""

WATCHERS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is asked by watchers, at all times: it is no use that is made of the daemon."""


class Activity:
    """What goes on. For the event loop's thread.

    Args:
        works: tells whether there is work that goes on without anybody waiting: jobs, fetches.
    """

    def __init__(self, works: Callable[[], bool]) -> None:
        self._works = works
        self._requests: dict[object, tuple[str, float]] = {}
        self._last = time.monotonic()

    @contextlib.contextmanager
    def request(self, what: str) -> Iterator[None]:
        """Count a request, on whatever door, for as long as it is being answered; `what` is how it is shown."""
        key = object()
        self._requests[key] = what, time.monotonic()
        try:
            yield
        finally:
            del self._requests[key]
            self._last = time.monotonic()

    def running(self) -> list[tuple[str, float]]:
        """Return the requests that are being answered and since how many seconds, the longest first."""
        now = time.monotonic()
        return [(what, now - began) for what, began in self._requests.values()]

    def idle(self) -> float:
        """Return for how many seconds there was neither a request nor work, as far as anybody has looked."""
        if self._requests or self._works():
            self._last = time.monotonic()
        return time.monotonic() - self._last

    async def wait_idle(self, seconds: float) -> None:
        """Return when nothing has gone on for so long."""
        while (left := seconds - self.idle()) > 0:  # noqa: ASYNC110 - nobody tells when work has ended
            await asyncio.sleep(min(left, seconds / LOOKS))


def counting(activity: Activity) -> Middleware:
    """Return the middleware that counts requests, but those of watchers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in WATCHERS:
            return await handler(request)
        with activity.request(f"{request.method} {request.path[:PATH_SHOWN]!a}"):
            return await handler(request)

    return middleware
