"""Bodies of requests: read within bounds of size, time and memory, which is reserved as bytes arrive and per caller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import hdrs, web

from wavelet.errors import InvalidRequest, TooLarge, WaitExpired
from wavelet.front.keys import CALLER
from wavelet.front.listener import BODY_LIMIT
from wavelet.plan.tokens import Principal
from wavelet.quantities import size as size_of

BODY_WAIT = 60.0
"""Seconds within which a body has to arrive."""

BODY_PAUSE = 15.0
"""Seconds that may pass between two of its parts."""

SLOW_PART = 1024 * 1024
"""Bytes that have to come in `BODY_WAIT` of a body that has no bound of its own."""

SMALL_BODY = 64 * 1024
"""Bytes of a body that need no room: as many connections as there are may have them."""

ARRIVING_LIMIT = 8 * BODY_LIMIT
"""Bytes of all bodies that are held at one time, without the first `SMALL_BODY` of each."""

CALLER_LIMIT = ARRIVING_LIMIT // 2
"""The same, of the bodies of one caller."""

RETRY_AFTER = 5.0


class Bodies:
    """Reads bodies. For the event loop's thread."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._total = 0

    @contextlib.asynccontextmanager
    async def read(self, request: web.Request) -> AsyncIterator[bytes]:
        """Give a request's body; its room is held until the end of the context.

        What a request announces takes no room, only what has come: else who announces much and sends nothing would keep
        others out.

        Raises:
            InvalidRequest: it does not arrive in time or whole, or is not in the coding that its header names.
            TooLarge: it has more than `BODY_LIMIT` bytes.
            WaitExpired: other bodies fill the room.
        """
        room = _Room(self, _caller(request))
        try:
            async with asyncio.timeout(BODY_WAIT) as limit:
                data = await _whole(request, room)
        except TimeoutError:
            within = (
                f"within {BODY_WAIT:.0f} s" if limit.expired() else f"on: nothing of it came for {BODY_PAUSE:.0f} s"
            )
            raise InvalidRequest(f"the body has not arrived {within}") from None
        else:
            yield data
        finally:
            self.release(room)

    def reserve(self, room: _Room, count: int) -> None:
        """Let a room grow.

        Raises:
            WaitExpired: it cannot.
        """
        whose = " of yours" if self._held[room.caller] + count > CALLER_LIMIT else ""
        if whose or self._total + count > ARRIVING_LIMIT:
            raise WaitExpired(f"too many large requests{whose} are arriving; ask again", retry_after=RETRY_AFTER)
        room.size += count
        self._held[room.caller] += count
        self._total += count

    def release(self, room: _Room) -> None:
        """Give a room back."""
        self._held[room.caller] -= room.size
        self._total -= room.size
        if not self._held[room.caller]:
            del self._held[room.caller]


@dataclass(slots=True)
class _Room:
    """What one body has reserved."""

    bodies: Bodies
    caller: str
    size: int = 0

    def grow(self, length: int) -> None:
        """Reserve what a body of this length needs."""
        needed = length - SMALL_BODY
        if needed > self.size:
            self.bodies.reserve(self, needed - self.size)


async def _whole(request: web.Request, room: _Room) -> bytes:
    """Read a body to its end; a TimeoutError where it stops in between."""
    too_large = TooLarge(f"the body is larger than {size_of(BODY_LIMIT)}; name large layers by their URL")
    if (request.content_length or 0) > BODY_LIMIT:
        raise too_large
    body = bytearray()
    while chunk := await _next(request):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise too_large
        room.grow(len(body))
    return bytes(body)


async def stream_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield a body of any size as it comes, which whoever takes it bounds; of time it has as much as it needs.

    Raises:
        InvalidRequest: it breaks off, stops for `BODY_PAUSE`, or brings less than `SLOW_PART` in `BODY_WAIT`.
    """
    waited, come = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            chunk = await _next(request)
        except TimeoutError:
            raise InvalidRequest(f"the body has not arrived on: nothing of it came for {BODY_PAUSE:.0f} s") from None
        if not chunk:
            return
        waited, come = waited + time.monotonic() - began, come + len(chunk)
        yield chunk
        if come >= SLOW_PART:
            waited, come = 0.0, 0
        elif waited > BODY_WAIT:
            raise InvalidRequest(f"the body comes too slowly: less than {size_of(SLOW_PART)} in {BODY_WAIT:.0f} s")


async def _next(request: web.Request) -> bytes:
    """Return what has come of a body; empty at its end."""
    try:
        async with asyncio.timeout(BODY_PAUSE):
            return await request.content.readany()
    except (ConnectionError, web.RequestPayloadError, web.PayloadAccessError) as error:
        why = " ".join(str(error).split())
        if request.headers.get(hdrs.CONTENT_ENCODING):
            why += "; is it what the header Content-Encoding says?"
        raise InvalidRequest(f"the body has not arrived whole: {why}") from None


def _caller(request: web.Request) -> str:
    """Return whose room a body takes: a user's, and of those who are nobody in particular that of their address."""
    caller = request.get(CALLER)
    return request.remote or "" if caller is None or caller.uid is None else str(Principal(caller.uid))
