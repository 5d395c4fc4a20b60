"""Files of which the first one stays, whoever writes another: what many nodes have to agree on.

A hard link is made once only, and so is the rename of a directory to a name under which a directory with something in
it stands: both hold on NFS and Lustre too, while the rename of a file replaces what is there. So where the file system
has no hard links, a directory stands under the name, with the file in it.

    <name>            the file; or
    <name>/content    the file

Nodes that share one place may use both ways: what stands in one form keeps out the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from wavelet import plain_files
from wavelet.cluster.publish import (
    NO_LINKS,
    TEMPORARY_SUFFIX,
    aside_of,
    publish_new,
    publish_over,
    sync_directory,
    write,
)
from wavelet.plain_files import NotPlainError

CONTENT = "content"

_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})
_UNCHANGEABLE = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})


def publish_first(path: Path, content: bytes, modified: float) -> None:
    """Make a file with a modification time in unix seconds, durably, unless something has its name; blocking.

    Whether it is ours is not said: what stands has to be read.

    Raises:
        OSError: it cannot be made; nothing is left of it.
    """
    try:
        publish_new(path, content, modified)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _publish_directory(path, content, modified)


def _publish_directory(path: Path, content: bytes, modified: float) -> None:
    aside = aside_of(path)
    aside.mkdir(mode=0o700)
    try:
        write(aside / CONTENT, content, modified)
        sync_directory(aside)
        aside.rename(path)
    except FileNotFoundError:
        if os.path.lexists(aside):
            raise
        # It was renamed, and the answer to that was lost.
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    finally:
        _remove_directory(aside)
    sync_directory(path.parent)


def replace(path: Path, content: bytes, modified: float) -> None:
    """Make a file, or put it in the place of what stands in either form; blocking."""
    try:
        publish_over(path, content, modified)
    except IsADirectoryError:
        publish_over(path / CONTENT, content, modified)


def read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the content of at most `limit` bytes, and the status of the file that has it; blocking.

    Raises:
        FileNotFoundError: there is none.
        NotPlainError: something else has its name, or it is larger.
        OSError: it cannot be read.
    """
    try:
        return _read(path, limit)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return _read(path, limit)  # replaced meanwhile, on another node


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    try:
        return plain_files.read(path, limit)
    except NotPlainError:
        if not _is_directory(path):
            raise
        try:
            return plain_files.read(path / CONTENT, limit)
        except FileNotFoundError:
            if _is_directory(path):
                raise NotPlainError(errno.EINVAL, "it is a directory without content", str(path)) from None
            raise


def status(path: Path) -> os.stat_result:
    """Return the status of the file, or of what else has its name; its modification time is the file's.

    Raises:
        FileNotFoundError: there is none.
    """
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        with contextlib.suppress(FileNotFoundError):
            return (path / CONTENT).lstat()
    return found


def set_time(path: Path, now: float) -> None:
    """Set the modification time of the file, in unix seconds, if there is one and it may be changed; blocking."""
    try:
        os.utime(path / CONTENT if _is_directory(path) else path, (now, now), follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNCHANGEABLE:
            raise


def remove(path: Path) -> bool:
    """Remove what stands, in either form; tell whether anything did. What else a directory has in it is left, aside."""
    try:
        if not _is_directory(path):
            path.unlink()
            return True
        aside = path
        if not path.name.endswith(TEMPORARY_SUFFIX):
            # First its name, so that nobody meets it half gone.
            aside = aside_of(path)
            path.rename(aside)
    except FileNotFoundError:
        return False
    _remove_directory(aside)
    return True


def _remove_directory(path: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in list(path.iterdir()):
            if entry.name == CONTENT or entry.name.endswith(TEMPORARY_SUFFIX):
                entry.unlink(missing_ok=True)
    # A file that is open somewhere stays on NFS, under another name, until it is closed: the next time, then.
    with contextlib.suppress(OSError):
        path.rmdir()


def _is_directory(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISDIR(path.lstat().st_mode)
    return False
