"""The answers to what is refused before any door is reached, in the form of the door that was knocked at."""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from wavelet.errors import MethodRefused, NotFound, WaveletError
from wavelet.front.registry.routes import error_response
from wavelet.front.wave.errors import message_response


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the errors of the middlewares behind this one, and for routes that there are not."""
    try:
        return await handler(request)
    except WaveletError as error:
        return _answer(request, error)
    except web.HTTPNotFound:
        return _answer(request, NotFound(f"no such route: {request.path[:300]!a}"))
    except web.HTTPMethodNotAllowed as error:
        answer = _answer(request, MethodRefused(f"{request.path[:300]!a} does not take {request.method}"))
        answer.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
        return answer


def _answer(request: web.Request, error: WaveletError) -> web.Response:
    return error_response(error) if request.path.startswith("/v2") else message_response(error)
