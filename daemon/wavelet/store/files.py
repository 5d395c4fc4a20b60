"""The operations of the content store on files. All of them block."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path


def changed_at(path: Path, size: int) -> int | None:
    """Return when a file was last changed, in nanoseconds of its inode's time.

    None if there is no regular file of that many bytes.

    Nothing but a clock that is set can give a file that was written to an earlier time again (inode(7), st_ctime).
    """
    # A file system that was mended after a crash may have cut a file off.
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ctime_ns if stat.S_ISREG(status.st_mode) and status.st_size == size else None


def free_bytes(path: Path) -> int:
    """Return how many bytes are free on the file system of `path`."""
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def make_private(path: Path) -> None:
    """Make a directory, and those above it, for the owner alone, where they are not there."""
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        make_private(path.parent)
        make_private(path)
    except FileExistsError:
        if not path.is_dir():
            raise


def check_writable(directory: Path) -> None:
    """Return if files can be made in a directory, which is made if need be.

    Raises:
        OSError: they cannot.
    """
    make_private(directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code), str(directory))


def create(path: Path) -> int:
    """Make a file that is not there yet, for reading and writing, and return its descriptor.

    Its directory is made again if something has tidied it away, as is done with `/tmp`.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_private(path.parent)
        return os.open(path, flags, 0o600)


def move_into_place(partial: Path, final: Path) -> None:
    """Rename a file, durably, into a directory that is made if need be."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    make_private(final.parent)
    partial.rename(final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_into_place(partial: Path, files: Mapping[Path, bytes]) -> None:
    """Write files whole, each aside in the directory `partial` and then renamed, without waiting for the disk.

    A crash of the process leaves each whole or not there; a crash of the machine may leave it with other bytes.
    """
    make_private(partial)
    for final, data in files.items():
        aside = partial / f"{final.name}.small"
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        make_private(final.parent)
        aside.rename(final)


def move_aside(path: Path, aside: Path) -> None:
    """Rename a file, if it is there, into a directory that is made if need be."""
    make_private(aside.parent)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
