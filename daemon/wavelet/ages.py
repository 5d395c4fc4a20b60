"""The age of what is kept, by clocks that are set, run ahead, and are set right again.

A time that lies ahead of now was taken by a clock that was wrong, and nothing is known of how old what bears it is. So
what may be relied on for a while is relied on no more, and a note that is due now and then is due.
"""

from __future__ import annotations

SKEW = 300.0
"""Seconds by which the clocks of a cluster's nodes may differ, and by which one may be set back in good order."""


def is_within(at: float, now: float, seconds: float) -> bool:
    """Tell whether `at` is at most `seconds` ago, and not ahead of `now`; all in unix seconds."""
    return 0.0 <= now - at <= seconds


def is_ahead(at: float, now: float) -> bool:
    """Tell whether a time is so far ahead that the clock was wrong, even if it was another node's."""
    return at - now > SKEW
