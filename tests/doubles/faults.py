"""Faults of a server, as values: what goes wrong, on which paths, how often."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

_BLOCK = 64 * 1024


@dataclass
class Fault:
    """What happens to requests whose path `pattern` is found in (a regular expression).

    The first `skip` requests go well, then `times` of them do not (None: all). Several members may be set at once.
    """

    pattern: str
    method: str | None = None
    times: int | None = None
    skip: int = 0
    status: int | None = None
    """Answer with this status, `headers` and `body` instead."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0.0
    """Seconds before anything is answered."""
    truncate: int | None = None
    """Close the connection in good order after so many bytes of the body."""
    reset: int | None = None
    """Break the connection after so many bytes of the body; -1: before the answer."""
    stall: int | None = None
    """Send nothing more after so many bytes of the body, until the server stops or the fault is lifted."""
    corrupt: int | None = None
    """Turn over the byte at this place of the body (of what is sent)."""
    content_length: int | None = None
    """Claim this length instead."""
    chunked: bool = False
    """Tell no length at all."""
    rate: float | None = None
    """Bytes a second of the body."""
    reads: int | None = None
    """Take so many bytes of what is sent, and no more, before anything of this happens."""
    redirect: str | None = None
    """Send to this URL; `loop`: to the very same path again."""

    hits: int = 0
    _lifted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def strikes(self, method: str, path: str) -> bool:
        """Count this request, and tell whether it goes wrong."""
        if self._lifted.is_set() or (self.method or method) != method or not re.search(self.pattern, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def lift(self) -> None:
        """End the fault, also for those it holds up."""
        self._lifted.set()

    async def held(self) -> None:
        """Wait until the fault is lifted."""
        await self._lifted.wait()


NONE = Fault(pattern="(?!)")


async def send(
    request: web.Request, status: int, headers: Mapping[str, str], body: bytes, fault: Fault
) -> web.StreamResponse:
    """Answer `request`, with `fault`."""
    await asyncio.sleep(fault.delay)
    if fault.reset == -1:
        if fault.stall is not None:
            await fault.held()
        return _break(request, web.StreamResponse())
    headers = dict(headers)
    if fault.redirect is not None:
        target = str(request.rel_url) if fault.redirect == "loop" else fault.redirect
        status, headers, body = 307, {"Location": target}, b""
    elif fault.status is not None:
        status, headers, body = fault.status, dict(fault.headers), fault.body or b""
    elif fault.body is not None:
        headers, body = headers | dict(fault.headers), fault.body
    if fault.corrupt is not None and fault.corrupt < len(body):
        body = body[: fault.corrupt] + bytes([body[fault.corrupt] ^ 0xFF]) + body[fault.corrupt + 1 :]
    length = len(body) if fault.content_length is None else fault.content_length
    told = {} if fault.chunked else {"Content-Length": str(length)}
    response = web.StreamResponse(status=status, headers=headers | told)
    response.headers.setdefault("Content-Type", "application/octet-stream")
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    limits = [end for end in (fault.truncate, fault.reset, fault.stall) if end is not None]
    await _write(response, body[: min(limits)] if limits else body, fault.rate)
    if fault.stall is not None:
        await fault.held()
    if fault.reset is not None or fault.stall is not None:
        return _break(request, response)
    if fault.truncate is not None or len(body) < length:
        assert request.transport is not None
        request.transport.close()
    return response


async def _write(response: web.StreamResponse, body: bytes, rate: float | None) -> None:
    block = _BLOCK if rate is None else max(1, int(rate / 20))
    for start in range(0, len(body), block):
        await response.write(body[start : start + block])
        if rate is not None:
            await asyncio.sleep(block / rate)


def _break(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response
