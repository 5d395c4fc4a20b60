"""Requests for files at URLs outside of any registry: the slot at the host, and the repetitions."""

from __future__ import annotations

import time
from collections.abc import Callable

from wavelet.errors import UpstreamBusy
from wavelet.upstream.answer import Answer
from wavelet.upstream.display import server_of, shown
from wavelet.upstream.endpoints import Endpoint
from wavelet.upstream.host_limiter import HostLimiter
from wavelet.upstream.retry import ATTEMPTS, is_passing, repeated, retry_after
from wavelet.upstream.transport import Request, Transport


async def get(
    transport: Transport, limiter: HostLimiter, request: Callable[[], Request], *, attempts: int = ATTEMPTS
) -> Answer:
    """Send a request, and again as `request` has it then, at most `attempts` times while the server says "not now".

    Raises:
        UpstreamUnreachable: no connection, or no answer in time.
        UpstreamBusy: still 408, 429 or 5xx; `retry_after` says when to come again.
        UpstreamBroken: not the protocol.
    """
    return await repeated(lambda: _get(transport, limiter, request()), attempts)


async def _get(transport: Transport, limiter: HostLimiter, request: Request) -> Answer:
    host = server_of(request.url)
    slot = await limiter.take(host, transfer=True)
    try:
        answer = Answer(await transport.send(request), slot, Endpoint(host, request.url.origin()))
    except BaseException:
        slot.release()
        raise
    if is_passing(answer.status):
        answer.close()
        asked = retry_after(answer.headers.get("Retry-After"), time.time())
        raise UpstreamBusy(f"{shown(request.url)} answers {answer.status}, not now", retry_after=asked)
    return answer
