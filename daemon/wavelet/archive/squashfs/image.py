"""What of a squashfs image stands behind its data: all tables, in the order that readers check."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

from wavelet.archive.squashfs.codecs import Codec
from wavelet.archive.squashfs.metadata import MetadataWriter, write_indexed
from wavelet.archive.squashfs.superblock import ABSENT, Superblock
from wavelet.archive.squashfs.tree import TreeWriter, Written
from wavelet.archive.squashfs.xattrs import XattrTable

_ID = struct.Struct("<I")
_FRAGMENT = struct.Struct("<QII")


class ImageTables:
    """Writes the tables behind each other: inodes, directories, fragments, ids, extended attributes.

    Linux (`fs/squashfs/{super,id,fragment,xattr_id}.c`) takes it that each begins where the one before it ends. Tables
    that are written at the same time as the first lie in `directory` until it is complete.

    Attributes:
        tree: takes the entries.
    """

    def __init__(self, file: BinaryIO, position: int, directory: Path, codec: Codec) -> None:
        """Begin the tables at the end of `file`, which is at `position` of the image."""
        self._file = file
        self._position = position
        self._compress = codec.compressor()
        with ExitStack() as opened:
            self._directories = opened.enter_context((directory / "directories").open("wb+"))
            self._pairs = opened.enter_context((directory / "xattrs").open("wb+"))
            self._opened = opened.pop_all()
        self._inode_table = MetadataWriter(file, self._compress)
        self._directory_table = MetadataWriter(self._directories, self._compress)
        self._xattr_table = XattrTable(self._pairs, self._compress)
        self.tree = TreeWriter(self._inode_table, self._directory_table, self._xattr_table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        for file in (self._directories, self._pairs):
            Path(file.name).unlink(missing_ok=True)

    def finish(self, root: Written, fragments: Iterable[tuple[int, int]]) -> Superblock:
        """Write what is left, and return what the image begins with.

        Args:
            root: the root's inode.
            fragments: of each fragment block where in the image it begins, and its size word.
        """
        inodes = self._position
        directories = inodes + self._inode_table.finish()
        position = directories + self._directory_table.finish()
        self._append(self._directories)
        rows = _Counted(_FRAGMENT.pack(start, size, 0) for start, size in fragments)
        fragment_table, position = write_indexed(self._file, position, rows, self._compress)
        ids = self.tree.ids
        id_table, position = write_indexed(self._file, position, map(_ID.pack, ids), self._compress)
        xattr_table = ABSENT
        if self._xattr_table:
            pairs = position
            position += self._xattr_table.finish()
            self._append(self._pairs)
            xattr_table, position = self._xattr_table.write_rows(self._file, pairs, position)
        _, block, offset, _ = root
        return Superblock(
            inodes=self.tree.inodes,
            fragments=rows.count,
            ids=len(ids),
            root=block << 16 | offset,
            size=position,
            id_table=id_table,
            xattr_table=xattr_table,
            inode_table=inodes,
            directory_table=directories,
            fragment_table=fragment_table if rows.count else ABSENT,
        )

    def _append(self, file: BinaryIO) -> None:
        file.seek(0)
        shutil.copyfileobj(file, self._file)


class _Counted:
    """An iterable that knows afterwards how many there were."""

    def __init__(self, items: Iterable[bytes]) -> None:
        self._items = items
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for item in self._items:
            self.count += 1
            yield item
