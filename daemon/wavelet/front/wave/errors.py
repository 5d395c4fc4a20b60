"""How the Wave door answers errors: `{"message": …}`, with the status that the error has in the tree."""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from wavelet.errors import UpstreamError, WaveletError
from wavelet.front.defects import defect
from wavelet.front.metrics import REQUESTS
from wavelet.front.wave.models import MessageAnswer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MESSAGE_LIMIT = 2000
_FAILED_DEPENDENCY = 424


def answering(handler: Handler) -> Handler:
    """Return `handler` with every exception turned into an answer, a defect also into an entry of the log."""

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except WaveletError as error:
            response = message_response(error, request.method)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door: it is logged, and the client gets its id
            response = message_response(defect(request), request.method)
        REQUESTS.labels("wave", handler.__name__, response.status).inc()
        return response

    return answered


def message_response(error: WaveletError, method: str = "GET") -> web.Response:
    """Return the answer to a request of `method` that ended in `error`."""
    message = error.message[:_MESSAGE_LIMIT].encode("utf-8", "replace").decode()
    # Clients repeat a POST that gets a 5xx for minutes, and what an upstream does not answer now is not ours to repeat.
    status = _FAILED_DEPENDENCY if isinstance(error, UpstreamError) and method == "POST" else error.status
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    body = msgspec.json.encode(MessageAnswer(message=message))
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
