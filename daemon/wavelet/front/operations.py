"""Health, readiness and metrics, for systemd, Kubernetes and Prometheus."""

from __future__ import annotations

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

READY = web.AppKey("ready", dict[str, bool])


def add_routes(app: web.Application) -> None:
    """Register the routes."""
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    if request.app[READY].get("ready"):
        return web.Response(text="ready\n")
    return web.Response(status=503, text="stopping\n", headers={hdrs.RETRY_AFTER: "1"})


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})
