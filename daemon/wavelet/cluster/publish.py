"""Files that appear whole or not at all, to other processes and to other nodes, and outlast power loss.

Written aside, fsynced, linked or renamed to their name, the directory fsynced. Link and rename are atomic on NFS and
Lustre too; nothing relies on locks, appending or O_EXCL.
"""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

MODE = 0o600
TEMPORARY_SUFFIX = ".tmp"

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def publish_new(path: Path, content: bytes, modified: float) -> bool:
    """Make a file that does not exist yet, with a modification time in unix seconds; blocking.

    Returns:
        Whether it is ours; False: another was first, and its file stays.

    Raises:
        OSError: also where the file system has no hard links.
    """
    aside = _write_aside(path, content, modified)
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
        sync_directory(path.parent)
    return True


def publish_over(path: Path, content: bytes, modified: float) -> None:
    """Make or replace a file; blocking."""
    aside = _write_aside(path, content, modified)
    try:
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def publish(path: Path, content: bytes, modified: float, *, replace: bool) -> None:
    """Make a file if there is none, or replace it; blocking. Without hard links, the last of two writers stays."""
    try:
        if not replace:
            publish_new(path, content, modified)
            return
    except OSError as error:
        if error.errno not in _NO_LINKS:
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


def _write_aside(path: Path, content: bytes, modified: float) -> Path:
    # In the same directory: some file systems link within one only.
    aside = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # Not the server's clock: it may differ from the nodes'.
            os.utime(file.fileno(), (modified, modified))
            os.fsync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside
