"""Inodes of a squashfs image, as bytes: the short form where it says all, else the long one.

The long forms are for several names of a file, for positions and sizes from 4 GiB on, for holes (so that `du` is
right), for extended attributes, and for directories that are large.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wavelet.archive.squashfs.codecs import BLOCK

DIRECTORY, FILE, SYMLINK, FIFO = 1, 2, 3, 6
"""Types of inodes, in the short form; directories name only these."""

LONG = 7
"""What makes the type of the long form of it."""

NO_XATTRS = NO_FRAGMENT = 0xFFFFFFFF

_SMALL = 0xFFFFFFFF
_FILE = struct.Struct("<4H6I")
_LONG_FILE = struct.Struct("<4H2I3Q4I")
_DIRECTORY = struct.Struct("<4H4I2HI")
_LONG_DIRECTORY = struct.Struct("<4H6I2HI")
_SYMLINK = struct.Struct("<4H4I")
_FIFO = struct.Struct("<4H3I")
_XATTRS = struct.Struct("<I")


Common = tuple[int, int, int, int, int]
"""What all inodes have: permissions, numbers of the rows of user and group in the table of ids, time, and number."""


class FileData(NamedTuple):
    """Where in the image the bytes of a file are.

    Attributes:
        size: bytes of the file.
        start: where its first block begins.
        blocks: size words of its whole blocks; 0 is a hole.
        fragment: which fragment block has the rest; -1: none.
        offset: where in that, before compression.
    """

    size: int
    start: int
    blocks: tuple[int, ...]
    fragment: int
    offset: int


def file_inode(common: Common, data: FileData, links: int, xattrs: int) -> bytes:
    """Return the inode of a regular file."""
    mode, uid, gid, mtime, number = common
    size, start, blocks, fragment, offset = data
    fragment &= NO_FRAGMENT
    words = struct.pack(f"<{len(blocks)}I", *blocks) if blocks else b""
    has_holes = 0 in blocks
    if links == 1 and xattrs == NO_XATTRS and not has_holes and size <= _SMALL and start <= _SMALL:
        return _FILE.pack(FILE, mode, uid, gid, mtime, number, start, fragment, offset, size) + words
    holes = _holes(size, blocks) if has_holes else 0
    return (
        _LONG_FILE.pack(FILE + LONG, mode, uid, gid, mtime, number, start, size, holes, links, fragment, offset, xattrs)
        + words
    )


def _holes(size: int, blocks: tuple[int, ...]) -> int:
    """Return how many bytes of a file are in holes; its last block may be a short one."""
    count = blocks.count(0)
    over = len(blocks) * BLOCK - size
    return count * BLOCK - (over if over > 0 and blocks[-1] == 0 else 0)


class Place(NamedTuple):
    """Where in the table of directories a directory's entries are: block, offset in it, and bytes.

    Attributes:
        rows: the index of a large one.
    """

    start: int
    offset: int
    size: int
    rows: tuple[bytes, ...] = ()


def directory_inode(common: Common, place: Place, directories: int, parent: int, xattrs: int) -> bytes:
    """Return the inode of a directory with so many `directories` in it, whose parent has the number `parent`."""
    mode, uid, gid, mtime, number = common
    start, offset, size, rows = place
    size += 3  # for `.` and `..`, which do not stand there
    links = directories + 2
    if not rows and xattrs == NO_XATTRS and size <= 0xFFFF:
        return _DIRECTORY.pack(DIRECTORY, mode, uid, gid, mtime, number, start, links, size, offset, parent)
    kind = DIRECTORY + LONG
    return _LONG_DIRECTORY.pack(
        kind, mode, uid, gid, mtime, number, links, size, start, parent, len(rows), offset, xattrs
    ) + b"".join(rows)


def symlink_inode(common: Common, target: bytes, links: int, xattrs: int) -> bytes:
    """Return the inode of a symbolic link."""
    mode, uid, gid, mtime, number = common
    is_long = xattrs != NO_XATTRS
    kind = SYMLINK + LONG if is_long else SYMLINK
    inode = _SYMLINK.pack(kind, mode, uid, gid, mtime, number, links, len(target)) + target
    return inode + _XATTRS.pack(xattrs) if is_long else inode


def fifo_inode(common: Common, links: int, xattrs: int) -> bytes:
    """Return the inode of a named pipe."""
    mode, uid, gid, mtime, number = common
    is_long = xattrs != NO_XATTRS
    kind = FIFO + LONG if is_long else FIFO
    inode = _FIFO.pack(kind, mode, uid, gid, mtime, number, links)
    return inode + _XATTRS.pack(xattrs) if is_long else inode
