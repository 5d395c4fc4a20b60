"""The tree of a squashfs image, written in one go: entries in the order of the tree become inodes and directories.

An inode is numbered when it is met, and written when all that it says is known: a directory's when it is left.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn, Protocol

from wavelet.archive.squashfs.inodes import (
    DIRECTORY,
    FIFO,
    FILE,
    NO_XATTRS,
    SYMLINK,
    Common,
    FileData,
    directory_inode,
    fifo_inode,
    file_inode,
    symlink_inode,
)
from wavelet.archive.squashfs.listing import Listing
from wavelet.archive.squashfs.metadata import MetadataWriter
from wavelet.archive.squashfs.xattrs import PREFIXES, Xattrs, XattrTable
from wavelet.errors import UpstreamBroken

NAME = 255
"""Bytes of the longest name."""

TARGET = 4095
"""Bytes of the longest target of a symbolic link: the kernel reads no more than a page of it, with its end."""

IDS = 65535
"""Users and groups that own something, together: the superblock has two bytes for their number."""


class Attributes(Protocol):
    """What an entry has beside its name and content."""

    @property
    def mode(self) -> int:
        """Permissions, 07777."""

    @property
    def uid(self) -> int:
        """Whose it is."""

    @property
    def gid(self) -> int:
        """Which group's it is."""

    @property
    def mtime(self) -> int:
        """When it was changed: whole seconds, 32 bits."""

    @property
    def xattrs(self) -> Xattrs:
        """Its extended attributes."""


Written = tuple[int, int, int, int]
"""An inode that is written, as directories name it: its type, block and offset in that, and number."""


class _Open(NamedTuple):
    """A directory that entries are being added to."""

    name: bytes
    attributes: Attributes
    number: int
    listing: Listing


class TreeWriter:
    """Takes a tree: `enter` for a directory, beginning with the root, what is in it, `leave`.

    Attributes:
        inodes: how many there are so far.
        ids: users and groups, in the order in which they were met.
    """

    def __init__(self, inodes: MetadataWriter, directories: MetadataWriter, xattrs: XattrTable) -> None:
        self.inodes = 0
        self.ids: dict[int, int] = {}
        self._table = inodes
        self._directories = directories
        self._xattrs = xattrs
        self._stack: list[_Open] = []

    def enter(self, name: bytes, attributes: Attributes) -> None:
        """Begin a directory in the one that is open; the root's name is empty.

        Raises:
            UpstreamBroken: a squashfs image cannot have that; so do the other methods.
        """
        if self._stack:
            self._check(name)
        self.inodes += 1
        self._stack.append(_Open(name, attributes, self.inodes, Listing()))

    def leave(self) -> Written:
        """End the directory that is open."""
        name, attributes, number, listing = self._stack.pop()
        place = listing.write(self._directories)
        common, xattrs = self._common(name, attributes, number)
        # The root's parent is a number that no inode has.
        parent = self._stack[-1].number if self._stack else self.inodes + 1
        written = self._write(DIRECTORY, directory_inode(common, place, listing.directories, parent, xattrs), number)
        if self._stack:
            above = self._stack[-1].listing
            above.directories += 1
            above.add(name, *written)
        return written

    def file(self, name: bytes, attributes: Attributes, data: FileData, links: int = 1) -> Written:
        """Add a regular file with so many names."""
        common, xattrs = self._begin(name, attributes)
        return self._add(name, FILE, file_inode(common, data, links, xattrs))

    def symlink(self, name: bytes, attributes: Attributes, target: bytes, links: int = 1) -> Written:
        """Add a symbolic link."""
        if not 0 < len(target) <= TARGET:
            self._refuse(name, f"is a symbolic link to a name of {len(target)} bytes; it can have 1 to {TARGET}")
        common, xattrs = self._begin(name, attributes)
        return self._add(name, SYMLINK, symlink_inode(common, target, links, xattrs))

    def fifo(self, name: bytes, attributes: Attributes, links: int = 1) -> Written:
        """Add a named pipe."""
        common, xattrs = self._begin(name, attributes)
        return self._add(name, FIFO, fifo_inode(common, links, xattrs))

    def again(self, name: bytes, written: Written) -> None:
        """Add another name of what is written."""
        self._check(name)
        self._stack[-1].listing.add(name, *written)

    def _begin(self, name: bytes, attributes: Attributes) -> tuple[Common, int]:
        self._check(name)
        self.inodes += 1
        return self._common(name, attributes, self.inodes)

    def _add(self, name: bytes, kind: int, inode: bytes) -> Written:
        written = self._write(kind, inode, self.inodes)
        self._stack[-1].listing.add(name, *written)
        return written

    def _write(self, kind: int, inode: bytes, number: int) -> Written:
        table = self._table
        written = (kind, table.start, table.offset, number)
        table.write(inode)
        return written

    def _common(self, name: bytes, attributes: Attributes, number: int) -> tuple[Common, int]:
        ids = self.ids
        owner = ids.setdefault(attributes.uid, len(ids))
        group = ids.setdefault(attributes.gid, len(ids))
        if len(ids) > IDS:
            raise UpstreamBroken(f"the image has files of more than {IDS} users and groups; squashfs has no more")
        common = (attributes.mode, owner, group, attributes.mtime, number)
        if not attributes.xattrs:
            return common, NO_XATTRS
        try:
            return common, self._xattrs.number(attributes.xattrs)
        except KeyError as error:
            kinds = ", ".join(f"{prefix.decode()}*" for prefix in PREFIXES)
            self._refuse(name, f"has an extended attribute {error}; there can be {kinds}")

    def _check(self, name: bytes) -> None:
        if not 0 < len(name) <= NAME:
            self._refuse(name, f"has a name of {len(name)} bytes; it can have 1 to {NAME}")

    def _refuse(self, name: bytes, why: str) -> NoReturn:
        path = b"/".join([*(each.name for each in self._stack), name]).decode(errors="backslashreplace")
        shown = path if len(path) <= 300 else f"{path[:300]}…"
        raise UpstreamBroken(f"{shown!r} in the image cannot be in a squashfs image: it {why}")
