"""Squashfs images written by hand: what is before the tables is given, or a hole that is as large as one likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from wavelet.archive.squashfs.codecs import GZIP, Codec
from wavelet.archive.squashfs.image import ImageTables
from wavelet.archive.squashfs.inodes import FileData
from wavelet.archive.squashfs.superblock import Superblock, size_before_data
from wavelet.archive.squashfs.tree import TreeWriter
from wavelet.archive.squashfs.xattrs import Xattrs


class Attributes(NamedTuple):
    """See `tree.Attributes`."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: Xattrs = ()


PLAIN = Attributes(0o644, 0, 0, 0)
EMPTY = FileData(0, 0, (), -1, 0)


class Image:
    """An image that is being written.

    Attributes:
        tree: in the root, which is entered and left here.
        superblock: as it was written, afterwards.
    """

    def __init__(self, tree: TreeWriter) -> None:
        self.tree = tree
        self.superblock: Superblock | None = None


@contextmanager
def written(
    path: Path, data_end: int, codec: Codec = GZIP, fragments: Sequence[tuple[int, int]] = ()
) -> Iterator[Image]:
    """Write an image whose tables begin at `data_end`; what is there before stays, if the file is there."""
    with path.open("rb+" if path.exists() else "wb+") as file:
        file.seek(max(data_end, size_before_data(codec)))
        with ImageTables(file, file.tell(), path.parent, codec) as tables:
            image = Image(tables.tree)
            tables.tree.enter(b"", Attributes(0o755, 0, 0, 0))
            yield image
            image.superblock = tables.finish(tables.tree.leave(), fragments)
        file.truncate(-(-image.superblock.size // 4096) * 4096)
        file.seek(0)
        file.write(image.superblock.encode(codec))
