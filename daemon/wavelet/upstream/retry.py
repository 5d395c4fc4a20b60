"""When a request is repeated, and after how long. Pure."""

from __future__ import annotations

import email.utils
import random

ATTEMPTS = 3
"""Times that one request is made at most, the first included."""

FIRST_DELAY = 0.25
"""Seconds before the second attempt; each further one waits three times as long."""

RETRY_AFTER_LIMIT = 10.0
"""The longest Retry-After (seconds) that is waited for; a longer one is passed on to the caller."""

USUAL_RETRY_AFTER = 5.0
"""Seconds that a caller is told to wait where the registry says nothing."""


def is_passing(status: int) -> bool:
    """Tell whether a status says "not now": 408, 429, and 5xx but for those about the request itself."""
    return status in (408, 429) or (500 <= status < 600 and status not in (501, 505))


def retry_after(header: str | None, now: float) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3) as seconds from `now` (Unix time); None where it says nothing."""
    text = (header or "").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def delay(attempt: int, asked: float | None) -> float | None:
    """Return the seconds to wait after the failed `attempt` (from 1), or None where it was the last.

    `asked` is the registry's Retry-After. A little chance keeps many nodes from coming back at the same moment.
    """
    if attempt >= ATTEMPTS or (asked is not None and asked > RETRY_AFTER_LIMIT):
        return None
    own: float = FIRST_DELAY * 3 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret depends on it
    return max(own, asked or 0.0)
