"""Directory trees that others have made, walked and removed: however deep one is, nothing here recurses.

`shutil.rmtree` and `os.walk` recurse up to Python 3.11, as generators that yield from themselves do, and a program in
an image makes a directory in a directory as often as it likes. Links are never followed. All of it blocks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

DEPTH_LIMIT = 256
"""Directories on the way to a path that is taken from others. Real packages and images stay under 50."""

_BATCH = 4096
"""Names of a directory that are in memory at a time."""


class TooDeep(OSError):
    """A path has more directories on its way than `DEPTH_LIMIT`."""

    def __init__(self, path: str) -> None:
        super().__init__(f"a path is more than {DEPTH_LIMIT} directories deep (it begins with {path[:60]!r})")
        self.path = path


def depth(path: str) -> int:
    """Return how many directories are on the way to a relative path."""
    return path.strip("/").count("/")


def walk(root: str | Path, leave_out: Callable[[str], bool] = lambda _path: False) -> Iterator[os.DirEntry[str]]:
    """Yield all entries below a directory, a directory before what is in it; what goes away meanwhile is left out.

    Args:
        root: the directory.
        leave_out: tells of a path, relative to `root`, that neither it nor what is in it is wanted.

    Raises:
        TooDeep: the tree is deeper than `DEPTH_LIMIT`.
        PermissionError: a directory cannot be read.
    """
    start = os.fspath(root).rstrip("/")
    waiting = [(start, 0)]
    while waiting:
        directory, level = waiting.pop()
        if level > DEPTH_LIMIT:
            raise TooDeep(directory[len(start) :].strip("/"))
        try:
            with os.scandir(directory) as entries:
                found = list(entries)
        except FileNotFoundError:
            continue
        for entry in found:
            if leave_out(entry.path[len(start) + 1 :]):
                continue
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, level + 1))


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all that is in a directory, as far as it can be read."""
    size = 0
    with contextlib.suppress(OSError):
        size = path.lstat().st_size
    if path.is_dir() and not path.is_symlink():
        with contextlib.suppress(OSError):
            for entry in walk(path):
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_size
    return size


def remove(path: Path) -> None:
    """Remove a file, link or directory with all that is in it, whatever rights were taken from its owner.

    Where something cannot be removed, it goes on beside it before it raises. What is in a directory's directories is
    moved up into it before these are removed: no path gets long, and two directories are open at a time.

    Raises:
        OSError: something cannot be removed; the first reason.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        path.unlink(missing_ok=True)
        return
    failed: dict[str, OSError] = {}
    top = _open(path, None)
    try:
        while names := [name for name in _names(top, len(failed)) if name not in failed]:
            for name in names:
                try:
                    _clear(name, top)
                except OSError as error:
                    failed[name] = error
    finally:
        os.close(top)
    if failed:
        raise next(iter(failed.values()))
    path.rmdir()


def _names(directory: int, beside: int) -> list[str]:
    """Return some names of an open directory; `beside` of them may be known already."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in itertools.islice(entries, _BATCH + beside)]


def _clear(name: str, top: int) -> None:
    """Remove an entry of an open directory; directories in it become entries of the open one."""
    if not _is_directory(name, top):
        os.unlink(name, dir_fd=top)
        return
    directory = _open(name, top)
    try:
        while names := _names(directory, 0):
            for inner in names:
                if _is_directory(inner, directory):
                    # Whoever moves a directory to another one has to be allowed to write it.
                    os.close(_open(inner, directory))
                    os.rename(inner, uuid.uuid4().hex, src_dir_fd=directory, dst_dir_fd=top)
                else:
                    os.unlink(inner, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open(path: str | Path, parent: int | None) -> int:
    """Open a directory, and give its owner all rights."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        opened = os.open(path, os.O_RDONLY | flags, dir_fd=parent)
    except PermissionError:
        # Without the right to read it, only this kind of descriptor can be had.
        found = os.open(path, os.O_PATH | flags, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{found}", stat.S_IRWXU)  # noqa: PTH101 - the descriptor's own, not a link's target
        finally:
            os.close(found)
        opened = os.open(path, os.O_RDONLY | flags, dir_fd=parent)
    try:
        if os.fstat(opened).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(opened, stat.S_IRWXU)
    except OSError:
        os.close(opened)
        raise
    return opened
