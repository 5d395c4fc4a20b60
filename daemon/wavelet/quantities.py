"""Ages and sizes: what the time of a clock is worth, and bytes as people read them.

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


def size(count: float) -> str:
    """Return bytes with a unit, in powers of ten, as registries and disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
