"""The one rule of identity, for all doors: what the kernel's number for a user means.

Both doors ask the kernel whose a connection is (sock_diag(7), SO_PEERCRED of unix(7)). It answers with a `uid_t`, which
is unsigned and has 32 bits (credentials(7)).
"""

from __future__ import annotations

import functools
from pathlib import Path

from wavelet.config import HIGHEST_UID
from wavelet.errors import AccessRefused

OVERFLOW_UID = 65534
"""What the kernel says, unless it is set otherwise, of users that the asking user namespace does not have."""

_OVERFLOW = Path("/proc/sys/kernel/overflowuid")


def user_of(number: int) -> int | None:
    """Return the user whom the kernel's number stands for.

    None: nobody in particular. Several people may hide behind the overflow uid (user_namespaces(7)).

    Raises:
        AccessRefused: it is no uid.
    """
    if not 0 <= number <= HIGHEST_UID:
        raise unreadable(f"it gives the number {number}, which is no uid")
    return None if number in _overflow_uids() else number


def unreadable(why: str) -> AccessRefused:
    """Return the refusal of a caller of whom the kernel does not say who it is."""
    return AccessRefused(f"the kernel does not say who calls, and whom the daemon cannot tell it does not serve: {why}")


@functools.cache
def _overflow_uids() -> frozenset[int]:
    try:
        return frozenset({OVERFLOW_UID, int(_OVERFLOW.read_text())})
    except (OSError, ValueError):
        return frozenset({OVERFLOW_UID})
