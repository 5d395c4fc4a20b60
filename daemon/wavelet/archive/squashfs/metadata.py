"""Metadata of a squashfs image: a stream in blocks of 8 KiB, each compressed alone behind its length.

What lies in it is named by where its block begins, as it is on the disk, and by where in the block, before
compression, it begins; it may go on in the blocks that follow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import BinaryIO

from wavelet.errors import UpstreamBroken

SIZE = 8192
"""Bytes of a block, before compression; the last one of a table may be shorter."""

_STORED = 0x8000
_FURTHEST = 0xFFFFFFFF
_LENGTH = struct.Struct("<H")
_POSITION = struct.Struct("<Q")

Compress = Callable[[bytes], bytes]


class MetadataWriter:
    """Writes one table; whoever writes to it asks before each piece where that will be.

    Attributes:
        start: where the block that is being filled begins, counted from the beginning of the table.
        offset: how much is in it.
    """

    __slots__ = ("_compress", "_file", "_pending", "offset", "start")

    def __init__(self, file: BinaryIO, compress: Compress) -> None:
        self._file = file
        self._compress = compress
        self._pending = bytearray()
        self.start = 0
        self.offset = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append a piece."""
        pending = self._pending
        pending += data
        while len(pending) >= SIZE:
            self._end_block()
        self.offset = len(pending)

    def finish(self) -> int:
        """Write the last block, and return the size of the table as it is in the file."""
        if self._pending:
            self._end_block()
            self.offset = 0
        return self.start

    def _end_block(self) -> None:
        data = bytes(self._pending[:SIZE])
        del self._pending[:SIZE]
        self.start += write_block(self._file, data, self._compress)
        if self.start > _FURTHEST:
            raise UpstreamBroken("the image has more entries than a squashfs image can have (a table of over 4 GiB)")


def write_block(file: BinaryIO, data: bytes, compress: Compress) -> int:
    """Write one block, compressed if that makes it smaller; return how many bytes that were."""
    packed = compress(data)
    if len(packed) < len(data):
        file.write(_LENGTH.pack(len(packed)) + packed)
        return _LENGTH.size + len(packed)
    file.write(_LENGTH.pack(len(data) | _STORED) + data)
    return _LENGTH.size + len(data)


def write_stored(file: BinaryIO, data: bytes) -> None:
    """Write one block as it is."""
    file.write(_LENGTH.pack(len(data) | _STORED) + data)


def write_indexed(
    file: BinaryIO, position: int, records: Iterable[bytes], compress: Compress, head: bytes = b""
) -> tuple[int, int]:
    """Write a table that is read by number: blocks of records, then where each block is.

    Args:
        file: at the end of what it has so far.
        position: where in the image that is.
        records: of one size, which divides that of a block.
        compress: see there.
        head: what stands before the list of blocks.

    Returns:
        Where in the image `head` begins, which is what names the table, and where the table ends.
    """
    blocks: list[int] = []
    pending = bytearray()
    for record in records:
        pending += record
        if len(pending) == SIZE:
            blocks.append(position)
            position += write_block(file, bytes(pending), compress)
            pending.clear()
    if pending:
        blocks.append(position)
        position += write_block(file, bytes(pending), compress)
    index = head + b"".join(map(_POSITION.pack, blocks))
    file.write(index)
    return position, position + len(index)
