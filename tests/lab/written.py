"""What lies in the directories of a node that runs, to look for what should not: files come and go meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def contents(*places: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file below these directories, and what is in it; one that is gone when its turn comes is left out."""
    for place in places:
        for directory, _, names in os.walk(place):
            for path in (Path(directory, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file():
                        yield path, path.read_bytes()
