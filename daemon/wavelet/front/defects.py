"""Defects: an exception that no room has foreseen is logged under an id, and the client is told the id."""

from __future__ import annotations

import secrets
import traceback

import structlog
from aiohttp import web

from wavelet.errors import Internal

log = structlog.get_logger()


def defect(request: web.Request) -> Internal:
    """Log the exception that is being handled, and return what to answer."""
    error_id = secrets.token_hex(6)
    # Without the values of variables, which may be secrets.
    log.error("defect", id=error_id, method=request.method, path=request.path, traceback=traceback.format_exc())
    return Internal(f"wavelet has a defect; its log says more under the error id {error_id}")
