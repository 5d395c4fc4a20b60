"""Files where others may have put something else: read without waiting, and no more of them than there should be.

A named pipe lets whoever opens it wait for a writer, a device may do anything, and a file may be larger than memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
}


class NotPlainError(OSError):
    """What is there is no regular file, or one that is too large; `strerror` says which."""


@contextlib.contextmanager
def opened(path: Path, *, follow: bool = False) -> Iterator[int]:
    """Open a regular file for reading and give its descriptor; blocks only as long as the file system does.

    Args:
        path: the file.
        follow: whether a symbolic link stands for what it leads to.

    Raises:
        NotPlainError: it is something else.
        OSError: it cannot be opened.
    """
    # Looked at first, since opening alone can make a device do something.
    _check(path, path.stat() if follow else path.lstat())
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        _check(path, os.fstat(descriptor))  # it may be another by now
        yield descriptor
    finally:
        os.close(descriptor)


def read(path: Path, limit: int, *, follow: bool = False) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file of at most `limit` bytes, and its status; `follow` as `opened` has it.

    Raises:
        NotPlainError: it is something else, or larger.
        OSError: it cannot be read.
    """
    with opened(path, follow=follow) as descriptor:
        status = os.fstat(descriptor)
        data = bytearray()
        while status.st_size <= limit and len(data) <= limit:
            block = os.read(descriptor, max(1, min(status.st_size, limit) - len(data) + 1))
            if not block:
                return bytes(data), status
            data += block
    raise NotPlainError(errno.EFBIG, f"it has more than {limit} bytes", str(path))


def _check(path: Path, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise NotPlainError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a regular file", str(path))
