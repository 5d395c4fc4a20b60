"""The kind of file system that a directory is on: the node's state needs one that is local.

SQLite's write-ahead log is memory shared between processes of one machine, and its locks are not to be trusted over a
network (https://www.sqlite.org/wal.html, "Overview", item 2 of the disadvantages).
"""

from __future__ import annotations

import re
from pathlib import Path

from wavelet.config import ConfigError

_MOUNTS = Path("/proc/self/mounts")

_SHARED = re.compile(
    r"9p|afs|cifs|coda|gfs2|gpfs|lustre|ncpfs|nfs4?|ocfs2|orangefs|panfs|pvfs2|smb3|smbfs|wekafs"
    r"|(fuse\.)?(beegfs|ceph|ceph-fuse|cephfs|gcsfuse|glusterfs|juicefs|mfs|moosefs|rclone|s3fs|sshfs)"
)
"""Types, as the mount table writes them, of file systems that other machines may write to, or that pass on to such."""


MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")
"""Types of file systems whose content is in memory."""


def filesystem_type(path: Path) -> str:
    """Return the type of the file system that `path` is on, as the mount table writes it."""
    return filesystem_of(path.expanduser().resolve(), _MOUNTS.read_text(errors="surrogateescape"))[1]


def refuse_network_filesystem(path: Path) -> None:
    """Return if `path`, which need not exist yet, is on a local file system.

    Raises:
        ConfigError: it is on one that is shared over a network; the message says what to do.
    """
    place = path.expanduser().resolve()
    source, kind = filesystem_of(place, _MOUNTS.read_text(errors="surrogateescape"))
    if _SHARED.fullmatch(kind):
        raise ConfigError(
            f"state: {path} is on a network file system ({kind}, {source}), where the node's database is not safe; "
            "set `state` (--state, WAVELET_STATE) to a directory on a local disk, e.g. below /var/tmp; "
            "what nodes share goes into `records.directory`, which may be there",
            field="state",
        )


def filesystem_of(path: Path, mounts: str) -> tuple[str, str]:
    """Return source and type of the mount that holds an absolute path (proc(5), `/proc/pid/mounts`).

    Args:
        path: without symbolic links.
        mounts: the mount table; of several mounts on one point the last is the visible one.
    """
    found, depth = ("", ""), 0
    for line in mounts.splitlines():
        source, point, kind, *_ = line.split(" ")
        parts = Path(_unescape(point)).parts
        if len(parts) >= depth and path.parts[: len(parts)] == parts:
            found, depth = (_unescape(source), kind), len(parts)
    return found


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
