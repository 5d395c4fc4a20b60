"""The superblock of a squashfs image, which it begins with, and the options of its codec behind it."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from wavelet.archive.squashfs.codecs import BLOCK, Codec
from wavelet.archive.squashfs.metadata import write_stored

ABSENT = 0xFFFFFFFFFFFFFFFF
"""The position of a table that is not there."""

_MAGIC = 0x73717368
_FLAG_DUPLICATES, _FLAG_OPTIONS = 0x0040, 0x0400
_SUPERBLOCK = struct.Struct("<5I6H8Q")
_ZSTD_OPTIONS = struct.Struct("<i")
_ZSTD_DEFAULT = 15


class Superblock(NamedTuple):
    """What it says: numbers of things, the root's inode, and where the tables are.

    Attributes:
        inodes: how many there are, which is also the largest number of one.
        root: block and offset in it of the root's inode, as `block << 16 | offset`.
        size: bytes of the image, without what it is padded with.
    """

    inodes: int
    fragments: int
    ids: int
    root: int
    size: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int

    def encode(self, codec: Codec) -> bytes:
        """Return the first bytes of the image; how many they are depends on the codec alone (`size_before_data`)."""
        options = _options(codec)
        flags = _FLAG_DUPLICATES | (_FLAG_OPTIONS if options else 0)
        return (
            _SUPERBLOCK.pack(
                _MAGIC, self.inodes, 0, BLOCK, self.fragments, codec.number, BLOCK.bit_length() - 1, flags,
                self.ids, 4, 0, self.root, self.size, self.id_table, self.xattr_table,
                self.inode_table, self.directory_table, self.fragment_table, ABSENT,
            )
            + options
        )  # fmt: skip


def size_before_data(codec: Codec) -> int:
    """Return where in an image the first block of data can be."""
    return _SUPERBLOCK.size + len(_options(codec))


def _options(codec: Codec) -> bytes:
    """Return what stands behind the superblock: a level of zstd that is not the default; no reader needs it."""
    if codec.name != "zstd" or codec.level == _ZSTD_DEFAULT:
        return b""
    file = io.BytesIO()
    write_stored(file, _ZSTD_OPTIONS.pack(codec.level))
    return file.getvalue()
