"""Defects: an exception that nobody has foreseen is logged under an id, and whoever asked is told the id."""

from __future__ import annotations

import asyncio
import errno
import secrets
import ssl
import sys
import traceback

import structlog

from wavelet.errors import Internal, OurError, WaitExpired
from wavelet.logs import Rarely

log = structlog.get_logger()

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
"""What the kernel says where the process or the machine has no file descriptor left."""

RETRY_AFTER = 5.0

_BROKEN = Rarely("a connection broke")
_NO_DESCRIPTOR = Rarely("no file descriptor is left; raise the limit (LimitNOFILE= of the unit, or ulimit -n)")


def defect(what: str, **about: object) -> OurError:
    """Log the exception that is being handled, as `what` and with `about`, and return what to answer.

    That no file descriptor is left is no defect, and happens to every request then: the log has one line for all.
    """
    raised = sys.exc_info()[1]
    if is_exhaustion(raised):
        _NO_DESCRIPTOR.warning()
        return WaitExpired("the daemon has no file descriptor left; ask again", retry_after=RETRY_AFTER)
    error_id = secrets.token_hex(6)
    # Without the values of variables, which may be secrets.
    log.error(what, id=error_id, traceback=traceback.format_exc(), **about)
    return Internal(f"wavelet has a defect; its log says more under the error id {error_id}")


def is_exhaustion(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it comes from, is that no file descriptor is left; a few steps deep."""
    for _ in range(10):
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            return True
        error = None if error is None else error.__cause__ or error.__context__
    return False


def handle_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log what went wrong where nobody waits for it: asyncio's exception handler.

    A connection that breaks is its peer's doing, and has no traceback.
    """
    error, what = context.get("exception"), str(context.get("message") or "an error in the event loop")
    if isinstance(error, BaseException) and is_exhaustion(error):
        _NO_DESCRIPTOR.warning()
    elif isinstance(error, ConnectionError | ssl.SSLError):
        _BROKEN.info(what=what, because=str(error))
    else:
        shown = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        log.error(what, id=secrets.token_hex(6), traceback=shown)
