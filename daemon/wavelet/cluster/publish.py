"""Files that appear whole or not at all, to other processes and to other nodes, and outlast power loss.

Written aside, fsynced, linked or renamed to their name, the directory fsynced. Link and rename are atomic on NFS and
Lustre too; nothing relies on locks, appending or O_EXCL.

NFS may lose an answer and ask again: what was done is then an error the second time. So an error says that something
stands under the name, or that it may; what stands is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path

MODE = 0o600
TEMPORARY_SUFFIX = ".tmp"

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""What a file system says that has no hard links."""


def publish_new(path: Path, content: bytes, modified: float) -> bool:
    """Make a file that does not exist yet, with a modification time in unix seconds; blocking.

    Returns:
        Whether it is ours; False: another was first, and its file stays.

    Raises:
        OSError: also where the file system has no hard links.
    """
    aside = aside_of(path)
    write(aside, content, modified)
    try:
        os.link(aside, path)
    except FileExistsError:
        return aside.stat().st_nlink > 1  # the answer to the first attempt was lost
    finally:
        aside.unlink(missing_ok=True)
        sync_directory(path.parent)
    return True


def publish_over(path: Path, content: bytes, modified: float) -> None:
    """Make or replace a file; blocking."""
    aside = aside_of(path)
    written = write(aside, content, modified)
    try:
        aside.replace(path)
    except FileNotFoundError:
        if not _is(path, written):
            raise
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def publish(path: Path, content: bytes, modified: float, *, replace: bool) -> None:
    """Make a file if there is none, or replace it; blocking. Without hard links, the last of two writers stays.

    It is for files of which all writers write the same; see `first.publish_first` for others.
    """
    try:
        if not replace:
            publish_new(path, content, modified)
            return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    publish_over(path, content, modified)


def make_directory(path: Path) -> None:
    """Make a directory for the owner alone, and those above it, each fsynced into its parent; blocking."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; blocking. Opening it also makes an NFS client look at it afresh."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def aside_of(path: Path) -> Path:
    """Return a new name, in the same directory: some file systems link within one only."""
    return path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")


def write(path: Path, content: bytes, modified: float) -> os.stat_result:
    """Write a new file, durably, and return its status; where that fails, nothing is left of it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # Not the server's clock: it may differ from the nodes'.
            os.utime(file.fileno(), (modified, modified))
            os.fsync(file.fileno())
            return os.fstat(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _is(path: Path, written: os.stat_result) -> bool:
    """Tell whether a file that was written aside has the name `path`."""
    sync_directory(path.parent)
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), written)
    return False
