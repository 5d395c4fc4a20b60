"""Merged entries to the tree of a squashfs image: their data is where the segment of their layer lies in it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from wavelet.archive.squashfs.inodes import FileData
from wavelet.archive.squashfs.tree import TreeWriter, Written
from wavelet.errors import Internal
from wavelet.kinds.sif.compose.links import Links
from wavelet.kinds.sif.compose.merge import Merged
from wavelet.kinds.sif.segments.index import Data, Entry

_EMPTY = Data(0)


class Segment(NamedTuple):
    """Where in the image a segment begins, and which number its first fragment block has."""

    start: int
    fragments: int


def write_tree(entries: Iterable[Merged], segments: Sequence[Segment], links: Links, tree: TreeWriter) -> Written:
    """Write all entries, the root being the first, and return the root's inode.

    Raises:
        UpstreamBroken: see `TreeWriter`.
    """
    writer = _Writer(segments, links, tree)
    open_path = b""
    depth = 0
    for layer, entry in entries:
        path = entry.path
        parent, _, name = path.rpartition(b"/")
        while depth > 1 and parent != open_path:
            tree.leave()
            open_path = open_path.rpartition(b"/")[0]
            depth -= 1
        if parent != open_path or (depth == 0) != (path == b""):
            raise Internal(f"an entry of a segment stands before its directory: {path!r}")
        if entry.kind == "directory":
            tree.enter(name, entry)
            open_path = path
            depth += 1
        else:
            writer.add(name, layer, entry)
    for _ in range(depth - 1):
        tree.leave()
    return tree.leave()


class _Writer:
    """Writes what is no directory."""

    def __init__(self, segments: Sequence[Segment], links: Links, tree: TreeWriter) -> None:
        self._segments = segments
        self._links = links
        self._has_links = bool(links)
        self._tree = tree
        self._written: dict[Hashable, tuple[Written, int]] = {}

    def add(self, name: bytes, layer: int, entry: Entry) -> None:
        """Add one name: an inode, or another name of one."""
        if not self._has_links:
            self._write(name, layer, entry, 1)
            return
        layer, entry = self._links.followed(layer, entry)
        identity = self._links.identity(layer, entry)
        if identity is None:
            self._write(name, layer, entry, 1)
            return
        first = self._written.pop(identity, None)
        if first is None:
            names = self._links.names(identity)
            written = self._write(name, layer, entry, names)
        else:
            written, names = first
            self._tree.again(name, written)
        if names > 1:
            self._written[identity] = written, names - 1

    def _write(self, name: bytes, layer: int, entry: Entry, names: int) -> Written:
        if entry.kind == "file":
            return self._tree.file(name, entry, self._data(layer, entry), names)
        if entry.kind == "symlink":
            return self._tree.symlink(name, entry, entry.target, names)
        return self._tree.fifo(name, entry, names)

    def _data(self, layer: int, entry: Entry) -> FileData:
        segment = self._segments[layer]
        data = entry.data or _EMPTY
        start = segment.start + data.start if data.blocks else 0
        fragment = data.fragment
        if fragment >= 0:
            fragment += segment.fragments
        return FileData(data.size, start, data.blocks, fragment, data.offset)
