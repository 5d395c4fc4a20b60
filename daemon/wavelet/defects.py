"""Defects: an exception that nobody has foreseen is logged under an id, and whoever asked is told the id."""

from __future__ import annotations

import secrets
import traceback

import structlog

from wavelet.errors import Internal

log = structlog.get_logger()


def defect(what: str, **about: object) -> Internal:
    """Log the exception that is being handled, as `what` and with `about`, and return what to answer."""
    error_id = secrets.token_hex(6)
    # Without the values of variables, which may be secrets.
    log.error(what, id=error_id, traceback=traceback.format_exc(), **about)
    return Internal(f"wavelet has a defect; its log says more under the error id {error_id}")
