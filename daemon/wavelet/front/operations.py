"""Health, readiness and metrics, for systemd, Kubernetes and Prometheus; the state, for the command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wavelet.daemon_status import DaemonStatus
from wavelet.errors import WaveletError

READY = web.AppKey("ready", dict[str, bool])

Check = Callable[[], Awaitable[None]]
"""Returns if what the daemon needs can be used; else raises the WaveletError that says why it cannot."""

CHECKS = web.AppKey("checks", tuple[Check, ...])


def add_routes(app: web.Application) -> None:
    """Register the routes."""
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)


def add_status(app: web.Application, tell: Callable[[], DaemonStatus]) -> None:
    """Register `/statusz`, which answers what `tell` returns."""

    async def statusz(_: web.Request) -> web.Response:
        return web.json_response(tell())

    app.router.add_get("/statusz", statusz)


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    if not request.app[READY].get("ready"):
        return web.Response(status=503, text="stopping\n", headers={hdrs.RETRY_AFTER: "1"})
    try:
        for check in request.app[CHECKS]:
            await check()
    except WaveletError as error:
        return web.Response(status=503, text=f"not ready: {error.message}\n", headers={hdrs.RETRY_AFTER: "5"})
    return web.Response(text="ready\n")


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})
