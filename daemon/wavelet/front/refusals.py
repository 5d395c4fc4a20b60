"""What is refused before any door is reached is answered in the form of the door that was knocked at."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from wavelet.errors import WaveletError
from wavelet.front.registry.routes import error_response
from wavelet.front.wave.errors import message_response


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the errors of the middlewares behind this one."""
    try:
        return await handler(request)
    except WaveletError as error:
        return error_response(error) if request.path.startswith("/v2") else message_response(error)
