"""The entries of one directory of a squashfs image, in runs, and the index of a large one.

A run has at most 256 entries and is no larger than a metadata block; their inodes begin in one such block and have
numbers close to each other. The index says for each further block of the table what the first name is of a run that
begins there, so that readers need not begin at the first.
"""

from __future__ import annotations

import struct

from wavelet.archive.squashfs.inodes import Place
from wavelet.archive.squashfs.metadata import SIZE, MetadataWriter

_RUN = 256
_NEAR = 32767
_ROWS = 65535
_HEADER = struct.Struct("<III")
_COUNT = struct.Struct("<I")
_ENTRY = struct.Struct("<HhHH")
_ROW = struct.Struct("<III")


class Listing:
    """What is in one directory; names are added in bytewise order, when their inodes are written.

    Attributes:
        directories: how many of the entries are directories.
    """

    __slots__ = ("_base", "_block", "_bytes", "_count", "_run", "_runs", "directories")

    def __init__(self) -> None:
        self.directories = 0
        self._bytes = bytearray()
        self._runs: list[tuple[int, bytes]] = []
        self._run = self._count = self._base = 0
        self._block = -1

    def add(self, name: bytes, kind: int, block: int, offset: int, number: int) -> None:
        """Add an entry.

        Args:
            name: of 1 to 255 bytes.
            kind: the type of its inode, in the short form.
            block: where the metadata block of its inode begins, counted from the beginning of the table.
            offset: where in the block its inode begins.
            number: its inode's.
        """
        distance = number - self._base
        is_full = self._count == _RUN or len(self._bytes) - self._run + _ENTRY.size + len(name) > SIZE
        if is_full or block != self._block or not -_NEAR <= distance <= _NEAR:
            self._end_run()
            self._begin_run(name, block, number)
            distance = 0
        self._count += 1
        self._bytes += _ENTRY.pack(offset, distance, kind, len(name) - 1) + name

    def write(self, table: MetadataWriter) -> Place:
        """Append the entries to the table of directories, and return where they are."""
        self._end_run()
        start, offset = table.start, table.offset
        size = len(self._bytes)
        if size <= SIZE:
            table.write(self._bytes)
            return Place(start, offset, size)
        rows: list[bytes] = []
        indexed = start
        ends = [position for position, _ in self._runs[1:]] + [size]
        view = memoryview(self._bytes)
        for (position, name), end in zip(self._runs, ends, strict=True):
            if table.start != indexed and len(rows) < _ROWS:
                indexed = table.start
                rows.append(_ROW.pack(position, indexed, len(name) - 1) + name)
            table.write(bytes(view[position:end]))
        return Place(start, offset, size, tuple(rows))

    def _begin_run(self, name: bytes, block: int, number: int) -> None:
        self._run, self._count, self._base, self._block = len(self._bytes), 0, number, block
        self._runs.append((self._run, name))
        self._bytes += _HEADER.pack(0, block, number)

    def _end_run(self) -> None:
        if self._count:
            _COUNT.pack_into(self._bytes, self._run, self._count - 1)
