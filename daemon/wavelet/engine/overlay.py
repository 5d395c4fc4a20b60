"""A directory in those that an overlay file system has above each other, read without mounting it.

Overlayfs as an unprivileged user mounts it (`userxattr`): a character device 0:0 covers a name of the directories
below, and the attribute `user.overlay.opaque` covers all that is below a directory (Linux,
Documentation/filesystems/overlayfs). Nothing else may change any of it meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelet.engine.tree import Entry, OnDisk
from wavelet.errors import EngineFailed

_OPAQUE = "user.overlay.opaque"


@dataclass(frozen=True, slots=True)
class OverlayTree:
    """A directory in root file systems that lie above each other.

    Attributes:
        roots: the root file systems, the uppermost first.
        directory: the absolute path of the directory in them.
    """

    roots: tuple[Path, ...]
    directory: str

    def entries(self, below: str = "") -> Iterator[Entry]:
        """See `Tree`.

        Raises:
            EngineFailed: what should be a directory on the way to it is none.
        """
        here = list(self.roots)
        for part in Path(self.directory.strip("/"), below).parts:
            here = _merged(here, part)
            if not here or not _is_directory(here[0]):
                raise EngineFailed(f"{self.directory} in the image is behind a link, or not there")
        return self._walk(here, below)

    def _walk(self, top: list[Path], below: str) -> Iterator[Entry]:
        seen: dict[tuple[int, int], str] = {}
        waiting = [(top, below)]
        while waiting:
            places, path = waiting.pop()
            entry = OnDisk(places[0], path, seen)
            yield entry
            if not entry.is_directory:
                continue
            # Programs may have taken rights from themselves that the owner needs; what is below is as it was unpacked.
            if not places[0].is_relative_to(self.roots[-1]):
                places[0].chmod(0o755)
            names = {child.name for place in places for child in place.iterdir()}
            for name in sorted(names, reverse=True):
                if found := _merged(places, name):
                    waiting.append((found, f"{path}/{name}".lstrip("/")))


def _merged(places: Sequence[Path], name: str) -> list[Path]:
    """Return what a name in these directories is: directories that lie above each other, or something else alone."""
    found: list[Path] = []
    for place in places:
        path = place / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            covers = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
            return found if found or covers else [path]
        found.append(path)
        if _is_opaque(path):
            break
    return found


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
