"""What the time of a clock is worth: clocks are set, run ahead, and are set right again.

A time that lies ahead of now was taken by a clock that was wrong, and nothing is known of how old what bears it is. So
what may be relied on for a while is relied on no more, and a note that is due now and then is due.
"""

from __future__ import annotations

SKEW = 300.0
"""Seconds by which the clocks of a cluster's nodes may differ: between nodes, a time so little ahead is a time of now.
"""


def is_within(at: float, now: float, seconds: float) -> bool:
    """Tell whether `at` is at most `seconds` ago, and not ahead of `now`; all in unix seconds."""
    return 0.0 <= now - at <= seconds


def is_within_between_nodes(at: float, now: float, seconds: float) -> bool:
    """Tell the same of a time that another node may have taken: it may be ahead by `SKEW`."""
    return -SKEW <= now - at < seconds


def is_ahead(at: float, now: float) -> bool:
    """Tell whether a time that any node may have taken is of a clock that was wrong."""
    return at - now > SKEW
