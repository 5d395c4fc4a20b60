"""Extended attributes of a squashfs image: each set of them once, however many inodes have it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from wavelet.archive.squashfs.metadata import Compress, MetadataWriter, write_indexed

Xattrs = tuple[tuple[bytes, bytes], ...]
"""Names with values."""

PREFIXES = {b"user.": 0, b"trusted.": 1, b"security.": 2}
"""Which there can be, and the numbers that stand for the first part of a name."""

_NAME = struct.Struct("<HH")
_VALUE = struct.Struct("<I")
_ROW = struct.Struct("<QII")
_HEAD = struct.Struct("<QII")


class XattrTable:
    """The sets, which are written to a file as they are met, and where there they are."""

    def __init__(self, file: BinaryIO, compress: Compress) -> None:
        self._pairs = MetadataWriter(file, compress)
        self._compress = compress
        self._numbers: dict[Xattrs, int] = {}
        self._rows = bytearray()

    def number(self, xattrs: Xattrs) -> int:
        """Return what inodes call this set, which is not empty.

        Raises:
            KeyError: an attribute (its name) of a kind that there is not.
        """
        known = self._numbers.get(xattrs)
        if known is not None:
            return known
        pairs = b"".join(_name(name) + _VALUE.pack(len(value)) + value for name, value in xattrs)
        size = sum(len(name) + len(value) + 1 for name, value in xattrs)
        self._rows += _ROW.pack(self._pairs.start << 16 | self._pairs.offset, len(xattrs), size)
        self._pairs.write(pairs)
        number = self._numbers[xattrs] = len(self._numbers)
        return number

    def finish(self) -> int:
        """End the names and values, and return how large they are in their file."""
        return self._pairs.finish()

    def write_rows(self, file: BinaryIO, pairs: int, position: int) -> tuple[int, int]:
        """Write where each set is, behind the names and values; see `metadata.write_indexed`.

        Args:
            file: see there.
            pairs: where in the image the names and values begin.
            position: where they end.
        """
        head = _HEAD.pack(pairs, len(self._numbers), 0)
        return write_indexed(file, position, self._each_row(), self._compress, head)

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def _each_row(self) -> Iterator[bytes]:
        for at in range(0, len(self._rows), _ROW.size):
            yield bytes(self._rows[at : at + _ROW.size])


def _name(name: bytes) -> bytes:
    prefix, dot, rest = name.partition(b".")
    kind = PREFIXES.get(prefix + dot)
    if kind is None:
        raise KeyError(name)
    return _NAME.pack(kind, len(rest)) + rest
