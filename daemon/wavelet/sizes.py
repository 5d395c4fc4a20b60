"""Bytes as people read them, in messages and in what commands print."""

from __future__ import annotations


def size(count: float) -> str:
    """Return bytes with a unit, in powers of ten, as registries and disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
