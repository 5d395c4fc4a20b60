"""The entries of a path: what decides, from the root down, which file it is. Links are followed as the kernel does."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_LINK_LIMIT = 40
"""Links after which the kernel gives up too (path_resolution(7))."""


def entries(path: Path) -> Iterator[Path]:
    """Yield every directory, link and file on the way to a path, and last what it leads to. Blocking.

    Each is the place where it really is: no directory above it is a link. Where one does not exist, or is a file that
    has to be a directory, it is the last.

    Raises:
        OSError: there are more links than the kernel follows.
    """
    done, parts = Path("/"), list(path.absolute().parts[1:])
    links = 0
    yield done
    while parts:
        part = parts.pop(0)
        if part == "..":
            done = done.parent
            yield done
            continue
        entry = done / part
        yield entry
        if entry.is_symlink():
            links += 1
            if links > _LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = entry.readlink()
            done = Path("/") if target.is_absolute() else done
            parts = [*(each for each in target.parts if each != "/"), *parts]
        elif entry.is_dir():
            done = entry
        else:
            return
