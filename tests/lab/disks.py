"""File systems in memory, which a test may fill or make read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(place: Path, size: str | None = None) -> Iterator[Path]:
    """Give the new directory `place` on a file system of its own, of `size` (`100m`); skip where it cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place.mkdir()
    options = () if size is None else ("-o", f"size={size}")
    made = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a file system here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)
