"""The tree of one layer, as its tar makes it entry by entry: what comes later replaces what was there.

Engines unpack a layer into an empty directory, and so does this, into tables: what is below a symbolic link of the same
layer is put where that leads, and directories that are missing are made. What the layer hides of lower ones is kept
apart from what it has itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from cachetools import LRUCache

from wavelet.archive.layer_names import FOLLOWED, fitting, led_to
from wavelet.kinds.sif.segments.index import Data, Entry, order
from wavelet.kinds.sif.segments.tables import EntryRows, Inode

_DIRECTORIES_HELD = 1024
"""Directories whose place is remembered."""

_IMPLIED = Inode("directory", 0o755)

_decode = msgspec.msgpack.Decoder(Data).decode
_decode_xattrs = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...]).decode
_EMPTY = Data(0)


class BrokenTree(ValueError):
    """A layer that no engine could unpack."""


class LayerTree:
    """A tree in the making. Paths are `cleaned`; a key is a path as entries are sorted by."""

    def __init__(self, rows: EntryRows, implied: Callable[[bytes], None]) -> None:
        """`implied` hears of every directory that is made without an entry of its own, before it is."""
        self._rows = rows
        self._implied = implied
        self._directories: LRUCache[bytes, bytes] = LRUCache(_DIRECTORIES_HELD)
        self._last = (b"", b"")
        self._inodes = 0
        self._has_pending = False
        self._rows.add(b"", _IMPLIED)
        self._rows.change(b"", _IMPLIED, implied=True)

    # -- what a tar says ----------------------------------------------------------------------------------------------

    def put(self, path: bytes, inode: Inode) -> None:
        """Have an entry at a path, in place of what is there.

        Raises:
            UnfitName: there is no way to that path.
            BrokenTree: it is the root, and the entry is no directory.
        """
        self._put(self._key(path), inode)

    def link(self, path: bytes, target: bytes) -> None:
        """Have one more name of what is at `target`, now or at the end; else that is what a lower layer has there.

        Raises:
            UnfitName: there is no way to one of them.
            BrokenTree: it is a directory.
        """
        key, at = self._key(path), self._peek(target)
        found = self._rows.inode(at)
        if found is None or found.kind == "link":
            self._has_pending = True
            self._put(key, Inode("link", target=target))
        elif key != at or found.kind == "directory":
            self._put(key, self._shared(at, found))

    def white_out(self, path: bytes) -> None:
        """Hide what lower layers have at a path."""
        self._rows.white_out(self._key(path))

    def make_opaque(self, path: bytes) -> None:
        """Hide what lower layers have in a directory."""
        self._rows.make_opaque(self._directory(path))

    # -- what it has come to ------------------------------------------------------------------------------------------

    def settle(self) -> tuple[int, bool, tuple[bytes, ...]]:
        """Have hard links lead to what is there now.

        Returns how many entries there are, whether there are hard links, and the paths that lower layers have to have.

        Raises:
            BrokenTree: hard links lead to a directory, or in a circle.
        """
        last = b""
        while self._has_pending and (pending := self._rows.pending(last)):
            for key, target in pending:
                self._settle(key, target)
            last = pending[-1][0]
        targets = self._rows.targets() if self._has_pending else set()
        return self._rows.count(), bool(self._inodes or targets), tuple(sorted(targets))

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in the order of the tree, once it is settled and all contents are stored."""
        for (
            key,
            kind,
            mode,
            uid,
            gid,
            mtime,
            target,
            xattrs,
            inode,
            implied,
            opaque,
            whited,
            data,
        ) in self._rows.ordered():
            path = _path(key)
            if kind is None or kind == "whiteout":
                yield Entry(path, "whiteout")
                continue
            found = None if kind != "file" else _decode(data) if data else _EMPTY
            kept = _decode_xattrs(xattrs) if xattrs else ()
            hides = kind == "directory" and bool(opaque or whited)
            yield Entry(path, kind, mode, uid, gid, mtime, target, found, inode, kept, hides, bool(implied))

    # -- ways ---------------------------------------------------------------------------------------------------------

    def _key(self, path: bytes) -> bytes:
        """Return the key of a path, and have the directories above it."""
        parent, _, name = path.rpartition(b"/")
        if parent != self._last[0]:
            self._last = parent, self._directory(parent)
        return _below(self._last[1], name)

    def _directory(self, path: bytes) -> bytes:
        """Return the key of the directory that a path leads to, and have it and those above it."""
        missing = []
        while path and path not in self._directories:
            parent, _, name = path.rpartition(b"/")
            missing.append((path, name))
            path = parent
        key: bytes = self._directories[path] if path else b""
        for each, name in reversed(missing):
            key = self._enter(key, name)
            self._directories[each] = key
        return key

    def _enter(self, above: bytes, name: bytes) -> bytes:
        """Return the key of what a directory has under a name: a directory, or where a link leads."""
        key = _below(above, name)
        kind = self._rows.kind(key)
        if kind == "symlink":
            key = self._walk(_path(key))
            above = b""
            for part in key.split(b"\0") if key else ():
                above = _below(above, part)
                if self._rows.kind(above) != "directory":
                    self._imply(above)
        elif kind != "directory":
            self._imply(key)
        return key

    def _imply(self, key: bytes) -> None:
        self._implied(key)
        self._put(key, _IMPLIED)
        self._rows.change(key, _IMPLIED, implied=True)

    def _peek(self, path: bytes) -> bytes:
        """Return the key of what is at a path, if anything is, without following a link there."""
        parent, _, name = path.rpartition(b"/")
        return _below(self._walk(parent), name)

    def _walk(self, path: bytes) -> bytes:
        """Return the key of what a path leads to; what is not there is taken for directories."""
        return order(fitting(led_to(path, lambda at: self._rows.symlink(order(at)))))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _put(self, key: bytes, inode: Inode) -> None:
        if self._rows.add(key, inode):
            return
        before = self._rows.kind(key)
        if before != inode.kind or before == "symlink":
            self._directories.clear()
            self._last = (b"", b"")
        if before == "directory" and inode.kind != "directory":
            if not key:
                raise BrokenTree("the root is a directory, and can be nothing else")
            self._rows.remove_below(key)
        self._rows.change(key, inode)

    def _shared(self, key: bytes, inode: Inode) -> Inode:
        """Return what is at a key, which has more than one name from now on."""
        if inode.kind == "directory":
            raise BrokenTree("a hard link leads to a directory")
        if not inode.inode and inode.kind != "whiteout":
            self._inodes += 1
            inode = inode._replace(inode=self._inodes)
            self._rows.number(key, self._inodes)
        return inode

    def _settle(self, key: bytes, target: bytes) -> None:
        for _ in range(FOLLOWED):
            at = self._peek(target)
            found = self._rows.inode(at)
            if found is None:
                self._rows.lead(key, _path(at))
                return
            if found.kind != "link":
                self._rows.change(key, self._shared(at, found))
                return
            target = found.target
        raise BrokenTree(f"the hard link {_path(key)!r} leads to others in a circle")


def _below(above: bytes, name: bytes) -> bytes:
    return above + b"\0" + name if above else name


def _path(key: bytes) -> bytes:
    return key.replace(b"\0", b"/")
