"""The limits of post-link scripts, as sentences that name their settings. Pure."""

from __future__ import annotations

from wavelet.engine.limits import Limits, Usage


def as_text(limits: Limits) -> str:
    """Return all limits."""
    return (
        f"{limits.processes} processes, {_size(limits.memory)} of memory, {_size(limits.disk)} written,"
        f" {limits.seconds:g} s (conda.scripts)"
    )


def excess(usage: Usage, limits: Limits) -> str:
    """Return what a script does that it may not, as the end of a sentence; nothing if all is well."""
    if usage.disk >= limits.disk:
        return f"writes {_size(usage.disk)}, and {_size(limits.disk)} are the most (conda.scripts.disk)"
    if usage.memory >= limits.memory:
        return f"takes {_size(usage.memory)} of memory, and {_size(limits.memory)} are the most (conda.scripts.memory)"
    if usage.processes >= limits.processes:
        return f"runs {usage.processes} processes at once, the most that are allowed (conda.scripts.processes)"
    return ""


def too_long(limits: Limits) -> str:
    """Return what a script does that does not end, as the end of a sentence."""
    return f"does not end within {limits.seconds:g} s (conda.scripts.seconds)"


def _size(number: int) -> str:
    for unit, size in (("GB", 1000**3), ("MB", 1000**2)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"
