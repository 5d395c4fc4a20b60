"""Connections of the doors: how many there may be, which of them end, and whether anybody has need of the daemon.

Where there is no more room, connections end on which nothing goes on: of the caller who has most of them, and those
first that have been quiet longest. Who opens many makes room for others at their own cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wavelet.logs import Rarely

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


SILENT_LIMIT = 30.0
"""Seconds within which a connection has to begin with something."""

LOOK_INTERVAL = 2.0
"""Seconds between two looks for connections whose time is over."""

ENDED_AT_ONCE = 32
"""One of so many connections ends where there is no more room, so that not each new one has to look at all."""

SPARE = 8
"""Connections above the limit, where all others are busy: they are for whoever watches the daemon."""


class Client(Protocol):
    """The other side of a connection."""

    @property
    def caller(self) -> Hashable:
        """Whose it is, as far as that is known."""

    def quiet_since(self) -> float | None:
        """Return since when (`time.monotonic`) nothing has gone on; None while something does."""

    def is_overdue(self, now: float) -> bool:
        """Tell whether its time is over."""

    def end(self, *, overdue: bool) -> None:
        """End it now: its time is over, or there is no more room."""


class Connections:
    """See the module. For the event loop's thread; `door` is what the log calls it."""

    def __init__(self, door: str, limit: int) -> None:
        self._limit = limit
        self._clients: dict[Client, None] = {}
        self._look: asyncio.TimerHandle | None = None
        self._quieter = asyncio.Event()
        self._full = Rarely("there are as many connections as there is room for", door=door, limit=limit)
        self._late = Rarely("connections ended on which no request came in time", door=door)

    def add(self, client: Client) -> bool:
        """Count a new connection; False: all others are busy, and it is one of the spare ones or has been ended."""
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_INTERVAL, self._look_at_all)
        is_full = len(self._clients) >= self._limit
        has_room = not is_full or self.make_room()
        if not has_room and len(self._clients) >= self._limit + SPARE:
            client.end(overdue=False)
            return False
        self._clients[client] = None
        return has_room

    def remove(self, client: Client) -> None:
        """Forget a connection that has ended."""
        self._clients.pop(client, None)
        self.note_quiet()

    def note_quiet(self) -> None:
        """Note that on some connection nothing goes on any more."""
        self._quieter.set()

    async def wait_until_quiet(self) -> None:
        """Return when nothing goes on, on any of them: all is answered, or who asked has gone."""
        while any(client.quiet_since() is None for client in self._clients):
            self._quieter.clear()
            await self._quieter.wait()

    def make_room(self) -> bool:
        """End connections on which nothing goes on; tell whether there was one."""
        counts = Counter(client.caller for client in self._clients)
        quiet = [(since, client) for client in self._clients if (since := client.quiet_since()) is not None]
        self._full.warning(quiet=len(quiet))
        if not quiet:
            return False
        quiet.sort(key=lambda each: (-counts[each[1].caller], each[0]))
        for _, client in quiet[: max(1, self._limit // ENDED_AT_ONCE)]:
            self.remove(client)
            client.end(overdue=False)
        return True

    def close(self) -> None:
        """Look at them no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_at_all(self) -> None:
        now = time.monotonic()
        for client in [each for each in self._clients if each.is_overdue(now)]:
            self._late.info()
            self.remove(client)
            client.end(overdue=True)
        again = bool(self._clients)
        self._look = asyncio.get_running_loop().call_later(LOOK_INTERVAL, self._look_at_all) if again else None
