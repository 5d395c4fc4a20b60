"""What the content store does with files. All of it blocks."""

from __future__ import annotations

import os
from pathlib import Path


def has_size(path: Path, size: int) -> bool:
    """Tell whether a file is there and has `size` bytes."""
    # A file system that was mended after a crash may have cut a file off.
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def free_bytes(path: Path) -> int:
    """Return how many bytes are free on the file system of `path`."""
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def move_into_place(partial: Path, final: Path) -> None:
    """Rename a file, durably, into a directory that is made if need be."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial.rename(final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
