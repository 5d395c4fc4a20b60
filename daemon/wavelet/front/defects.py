"""Defects in answering an HTTP request."""

from __future__ import annotations

from aiohttp import web

from wavelet import defects
from wavelet.errors import OurError


def defect(request: web.Request) -> OurError:
    """Log the exception that is being handled, and return what to answer."""
    return defects.defect("defect", method=request.method, path=request.path)
