"""The maker of a segment: a layer's tar becomes a file of compressed blocks and an index, in a worker process."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from wavelet.archive.inflated import open_inflated
from wavelet.archive.layer_names import cleaned, fitting_target, hidden, is_reserved, raw
from wavelet.archive.squashfs.codecs import Codec
from wavelet.archive.tar_attributes import attributes_of, is_device, is_fifo
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import UpstreamBroken
from wavelet.kinds.sif.segments.blocks import BlockWriter
from wavelet.kinds.sif.segments.contents import Contents
from wavelet.kinds.sif.segments.index import EntryKind, Header, write_index
from wavelet.kinds.sif.segments.tables import EntryRows, Inode, open_tables
from wavelet.kinds.sif.segments.tree import LayerTree
from wavelet.kinds.sif.segments.written_files import HashedFile, Room, Written
from wavelet.kinds.sif.segments.xattrs import kept

INFLATED_LIMIT = 64 * 1024**3
"""Bytes that a layer may inflate to, its holes included."""

DATA, TABLE = "data", "index"
"""The names of what is made."""

_NUMBERS = 2**32
"""Owners and times below this fit into an image."""
_ENTRY_ROOM, _TEXTS = 64, 2
"""Bytes that an entry takes up in the tables at most, besides so many times its texts."""


class Made(NamedTuple):
    """What was made: the segment's data, and the index of it (`table`)."""

    data: Written
    table: Written


def make_segment(layer: Path, name: str, directory: Path, codec: Codec, room: int) -> Made:
    """Make the segment of the layer in the file `layer`, called `name`, into an empty directory.

    Raises:
        UpstreamBroken: it is no tar, is damaged, or is none that could be unpacked.
        Outgrown: it takes more than `room` bytes.
        OSError: the disk is full.
    """

    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"the layer {name} cannot be read: {why}")

    bounds = Bounds(INFLATED_LIMIT, broken)
    left = Room(room)
    with contextlib.ExitStack() as stack:
        tables = stack.enter_context(open_tables(directory / "tables"))
        data = stack.enter_context(HashedFile(directory / DATA, left))
        index = stack.enter_context(HashedFile(directory / TABLE, left))
        blocks = stack.enter_context(BlockWriter(data, codec))

        def implied(key: bytes) -> None:
            bounds.count_member()
            left.take(_ENTRY_ROOM + _TEXTS * len(key))

        tree = LayerTree(EntryRows(tables), implied)
        contents = Contents(tables, data, blocks, left)
        reading = _Reading(tree, contents, left)
        inflated = stack.enter_context(open_inflated(layer))
        for member in members_of(inflated, bounds):
            try:
                reading.take(member)
            except ValueError as error:
                raise broken(f"{member.path!r}: {error}") from None
        contents.finish()
        try:
            entries, links, targets = tree.settle()
        except ValueError as error:
            raise broken(str(error)) from None
        header = Header(data.size, tuple(blocks.fragments), entries, links, targets)
        write_index(index, header, tree.entries())
        return Made(data.finish(), index.finish())


class _Reading:
    """Takes in a tar's members, one after the other."""

    def __init__(self, tree: LayerTree, contents: Contents, room: Room) -> None:
        self._tree = tree
        self._contents = contents
        self._room = room

    def take(self, member: Member) -> None:
        """Take in a member.

        Raises:
            ValueError: it is none that could be unpacked.
        """
        path = cleaned(raw(member.path))
        self._room.take(_ENTRY_ROOM + _TEXTS * (len(path) + len(member.target)))
        if is_reserved(path):
            self._hide(path)
        elif member.is_hard_link:
            self._tree.link(path, cleaned(raw(member.target)))
        elif (kind := _kind(member)) is not None:
            self._tree.put(path, self._inode(kind, member))

    def _hide(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        gone = None if is_reserved(parent) else hidden(name)
        if gone:
            self._tree.white_out(parent + b"/" + gone if parent else gone)
        elif gone is not None:
            self._tree.make_opaque(parent)

    def _inode(self, kind: EntryKind, member: Member) -> Inode:
        mode, uid, gid, mtime, attributes = attributes_of(member)
        if not (0 <= uid < _NUMBERS and 0 <= gid < _NUMBERS):
            raise ValueError(f"its owner is {uid}:{gid}, and neither may be negative or more than {_NUMBERS - 1}")
        content = self._contents.add(member.size, member.chunks()) if kind == "file" else 0
        xattrs = None
        if attributes and (some := kept(kind, attributes)):
            xattrs = msgspec.msgpack.encode(some)
            self._room.take(_TEXTS * len(xattrs))
        target = fitting_target(raw(member.target)) if kind == "symlink" else b""
        return Inode(kind, mode, uid, gid, min(max(mtime, 0), _NUMBERS - 1), target, xattrs, content)


def _kind(member: Member) -> EntryKind | None:
    """Return what a member becomes. A device stays out of the image, and so does what lower layers have there."""
    if member.is_file:
        return "file"
    if member.is_directory:
        return "directory"
    if member.is_symlink:
        return "symlink"
    if is_fifo(member):
        return "fifo"
    return "whiteout" if is_device(member) else None
