"""A stand-in for a file system across the network: a directory under another path, where each call takes as long as a
round trip does. Names and attributes are remembered for three seconds, as NFS does with those of files; data is not.

    /usr/bin/python3 benchmarks/round_trips.py DIRECTORY MOUNTED SECONDS

It is no NFS: it has one client, asks no server, and no absence is remembered. What is alike is that looking up, making,
writing, committing, linking and renaming wait for an answer each. The attribute `user.calls` of the mounted directory
is the number of calls so far. Run by Debian's Python, which has `fusepy`.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Any

import fusepy

CALLS = "user.calls"
KEPT = 3.0
"""Seconds for which names and attributes are remembered."""

_FREE = frozenset({"init", "destroy", "release", "releasedir", "flush", "getxattr"})
"""What NFS answers by itself, or does behind the caller's back, or does not have."""

_ATTRIBUTES = ("st_atime", "st_ctime", "st_gid", "st_ino", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")


class RoundTrips(fusepy.Operations):
    """Hands each call on to `root` after `seconds`."""

    def __init__(self, root: Path, seconds: float) -> None:
        self._root = str(root)
        self._seconds = seconds
        self._calls = 0

    def __call__(self, op: str, path: str, *args: Any) -> Any:
        """Answer a call, by the method of its name."""
        if op not in _FREE:
            self._calls += 1
            time.sleep(self._seconds)
        return super().__call__(op, self._root + path, *args)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(path)
        return {name: getattr(found, name) for name in _ATTRIBUTES}

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        if name != CALLS:
            raise fusepy.FuseOSError(errno.ENODATA)
        return str(self._calls).encode()

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(path)]  # noqa: PTH208

    def statfs(self, path: str) -> dict[str, Any]:
        found = os.statvfs(path)
        return {name: getattr(found, name) for name in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_files")}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(path, length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        os.fsync(fh)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def utimens(self, path: str, times: tuple[float, float] | None = None) -> None:
        os.utime(path, times)

    def link(self, target: str, source: str) -> None:
        os.link(self._root + source, target)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, self._root + new)  # noqa: PTH104

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)  # noqa: PTH102

    def rmdir(self, path: str) -> None:
        os.rmdir(path)  # noqa: PTH106

    def unlink(self, path: str) -> None:
        os.unlink(path)  # noqa: PTH108

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)  # noqa: PTH101

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid)


if __name__ == "__main__":
    mounted = RoundTrips(Path(sys.argv[1]).absolute(), float(sys.argv[3]))
    fusepy.FUSE(mounted, sys.argv[2], foreground=True, use_ino=True, entry_timeout=KEPT, attr_timeout=KEPT)
