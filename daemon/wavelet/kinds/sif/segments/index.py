"""The index of a segment: which entries a layer has, and where in the segment the data of its files is.

A file of frames, each four bytes with its length (big endian) and a piece of MessagePack: first a `Header`, then lists
of entries, in the order of the tree: bytewise by the components of their paths, each directory before what is in it.
Whoever reads it holds one frame at a time. Names are bytes; no path begins or ends with a slash or has `.` or `..`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal, Protocol

import msgspec

SEGMENT = "application/vnd.wavelet.segment.v1"
"""The media type of a segment's data: blocks of data and of fragments, one after the other, as squashfs has them."""

INDEX = "application/vnd.wavelet.segment.index.v1"
"""The media type of its index."""

FRAME_ENTRIES = 512
"""Entries of one frame."""

STORED = 1 << 24
"""The bit of a block's size word that says: stored as it is."""

EntryKind = Literal["directory", "file", "symlink", "fifo", "whiteout", "link"]
"""`whiteout`: hides what lower layers have there. `link`: a hard link to `target`, which a lower layer has."""


class Data(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where the bytes of a file are.

    Attributes:
        size: bytes of the file.
        start: where in the segment its first block begins; 0 if it has none.
        blocks: the size words of its whole blocks: bytes on disk, with `STORED`; 0 is a hole.
        fragment: which of the segment's fragment blocks has the rest; -1: none, there is no rest or it is a block.
        offset: where in that fragment block, before compression, the rest begins.
    """

    size: int
    start: int = 0
    blocks: tuple[int, ...] = ()
    fragment: int = -1
    offset: int = 0


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of a layer.

    Attributes:
        path: components from the root on; the root itself is empty.
        mode: permissions, 07777.
        mtime: whole seconds, 0 to 2^32 - 1.
        target: of a symbolic link, as it is; of a `link`, the path of what it is the same file as.
        data: of a file.
        inode: a number that hard links within the layer have in common; 0: this is its only name.
        xattrs: names with values, sorted.
        opaque: of a directory: nothing of what lower layers have in it shows.
        implied: of a directory: the layer has no entry of it, only of what is in it.
    """

    path: bytes
    kind: EntryKind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    target: bytes = b""
    data: Data | None = None
    inode: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    opaque: bool = False
    implied: bool = False

    @property
    def order(self) -> bytes:
        """What entries are sorted by: a name ends before any other byte of a longer one."""
        return order(self.path)


class Header(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an index begins with.

    Attributes:
        size: bytes of the segment's data.
        fragments: of each fragment block where it begins in the data, and its size word.
        entries: how many there are.
        links: whether there are hard links, within the layer or to lower ones: whoever merges has to count names.
        targets: the targets of its `link` entries, sorted.
    """

    size: int
    fragments: tuple[tuple[int, int], ...]
    entries: int
    links: bool = False
    targets: tuple[bytes, ...] = ()


_LENGTH = struct.Struct(">I")
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])
_HEADER = msgspec.msgpack.Decoder(Header)


def order(path: bytes) -> bytes:
    """Return what paths are sorted by to be in the order of the tree."""
    return path.replace(b"/", b"\0")


class Sink(Protocol):
    """What an index is written to."""

    def write(self, data: bytes, /) -> int:
        """Write all of `data`."""


def write_index(file: Sink, header: Header, entries: Iterable[Entry]) -> None:
    """Write an index; `entries` are in the order of the tree."""
    encode = msgspec.msgpack.Encoder().encode
    _frame(file, encode(header))
    frame: list[Entry] = []
    for entry in entries:
        frame.append(entry)
        if len(frame) == FRAME_ENTRIES:
            _frame(file, encode(frame))
            frame = []
    if frame:
        _frame(file, encode(frame))


def read_index(file: BinaryIO) -> tuple[Header, Iterator[Entry]]:
    """Return the header of an index and its entries, which are read as they are asked for.

    Raises:
        msgspec.DecodeError: it is no index.
    """
    data = _next(file)
    if data is None:
        raise msgspec.DecodeError("an empty index")
    return _HEADER.decode(data), _entries(file)


def _entries(file: BinaryIO) -> Iterator[Entry]:
    while (data := _next(file)) is not None:
        yield from _ENTRIES.decode(data)


def _frame(file: Sink, data: bytes) -> None:
    file.write(_LENGTH.pack(len(data)))
    file.write(data)


def _next(file: BinaryIO) -> bytes | None:
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return file.read(_LENGTH.unpack(head)[0])
