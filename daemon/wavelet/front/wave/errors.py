"""The answers to errors at the Wave door: `{"message": …}`, with the status that the error has in the tree."""

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
Refused = Callable[[web.Request, WaveletError], None]
"""Takes note of an error that a request is answered with."""

TEXT_LIMIT = 4000
"""Characters of an error's text that clients are told; of a longer one the log has all."""

_FAILED_DEPENDENCY = 424


def answering(kind: str, handler: Handler, refused: Refused) -> Handler:
    """Return `handler` with every exception turned into an answer, a defect also into an entry of the log.

    `kind` is what metrics call its requests.
    """

    @functools.wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except WaveletError as error:
            refused(request, error)
            response = message_response(error, request.method)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - the last resort of the door: it is logged, and the client gets its id
            response = message_response(defect(request), request.method)
        REQUESTS.labels("wave", kind, response.status).inc()
        return response

    return answered


def message_response(error: WaveletError, method: str = "GET") -> web.Response:
    """Return the answer to a request of `method` that ended in `error`."""
    # Clients repeat a POST that gets a 5xx for minutes, and what an upstream does not answer now is not ours to repeat.
    status = _FAILED_DEPENDENCY if isinstance(error, UpstreamError) and method == "POST" else error.status
    headers = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
    return web.Response(status=status, body=body_of(error), content_type="application/json", headers=headers)


def body_of(error: WaveletError) -> bytes:
    r"""Return the JSON that tells an error.

    Nextflow and wave-cli show a body as it came. So one sentence is on one line, and of a text with lines each has its
    own, the first one being the sentence that says it: JSON within a line would show them joined by `\n`.
    """
    sentence, *details = text_of(error).splitlines()
    if not details:
        return msgspec.json.encode(MessageAnswer(message=sentence))
    shown = (msgspec.json.encode(line) for line in details)
    return b'{"message": %s,\n "details": [\n  %s\n ]}\n' % (msgspec.json.encode(sentence), b",\n  ".join(shown))


def text_of(error: WaveletError) -> str:
    """Return an error's text as clients are told it, whether by an answer or by a status: cut to whole lines."""
    text = error.message.encode("utf-8", "replace").decode().strip() or type(error).__name__
    if len(text) <= TEXT_LIMIT:
        return text
    lines = text[:TEXT_LIMIT].splitlines()
    return "\n".join([*(lines[:-1] or lines), "…"])
