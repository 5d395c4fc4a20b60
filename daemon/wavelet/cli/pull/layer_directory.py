"""One layer of an image, unpacked into an empty directory as engines do it.

What is below a symbolic link of the same layer is put where that leads, never out of the directory; what comes later
replaces what was there. What the layer hides of lower ones is kept apart. Links are followed here and never by the
kernel, and directories get their rights at the very end: until then they are this user's, who has to write into them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from wavelet import directory_trees
from wavelet.archive.layer_names import cleaned, fitting_target, hidden, is_reserved, led_to, raw
from wavelet.archive.tar_attributes import Attributes, attributes_of, is_device, is_fifo
from wavelet.archive.tar_reader import Member

_PRIVATE = 0o700
_KEPT = "kept"
"""Beside the layer's directory: a file whose old name is about to go."""
_LATEST = 2**32 - 1
_CHUNK = 256 * 1024
_ZEROS = bytes(_CHUNK)
_USERS = b"user."
_CAPABILITY = b"security.capability"


class BrokenLayer(ValueError):
    """A layer that cannot be unpacked."""


class LayerDirectory:
    """A layer in a directory. Paths are bytes, relative to it, without slashes at their ends.

    Attributes:
        directories: those that it has, with what their own entry says; None where they have none.
        gone: what it hides of lower layers.
        opaque: directories of which it hides all that lower layers have in them.
    """

    def __init__(self, root: Path, lower: Path) -> None:
        """Begin in the empty directory `root`; `lower` has the layers below, as far as they are unpacked."""
        self._root = root
        self._lower = lower
        self._ways: dict[bytes, bytes] = {}
        self._pending: dict[bytes, bytes] = {}
        self._devices: set[bytes] = set()
        self.directories: dict[bytes, Attributes | None] = {}
        self.gone: set[bytes] = set()
        self.opaque: set[bytes] = set()

    def take(self, member: Member) -> None:
        """Unpack a member.

        Raises:
            ValueError: it is none that could be.
            OSError: the disk does not take it.
        """
        path = cleaned(raw(member.path))
        if is_reserved(path):
            self._hide(path)
        elif not path:
            if member.is_directory:
                self.directories[b""] = attributes_of(member)
        elif member.is_hard_link:
            self._hard_link(path, cleaned(raw(member.target)))
        elif member.is_directory:
            self._make_directory(path, attributes_of(member))
        elif is_device(member):
            self._devices.add(self._free(self._key(path)))
        elif member.is_file or member.is_symlink or is_fifo(member):
            self._make(self._free(self._key(path)), member)

    def settle(self) -> None:
        """Make the hard links whose target came later, or is in a lower layer.

        Raises:
            BrokenLayer: it is nowhere, or a directory.
        """
        while ready := [key for key, target in self._pending.items() if self._peek(target) not in self._pending]:
            for key in ready:
                self._settle(key, self._peek(self._pending.pop(key)))
        for key, target in self._pending.items():
            raise BrokenLayer(f"the hard link {key!r} to {target!r} leads in a circle")
        self.gone |= self._devices

    def _settle(self, key: bytes, at: bytes) -> None:
        place, target = self._place(key), self._place(at)
        place.unlink()
        if at in self._devices:
            self._devices.add(key)
            return
        if not self._kind(at):
            target = at_path(self._lower, at)
            if not is_directory(self._lower, at.rpartition(b"/")[0]) or not kind_of(target):
                raise BrokenLayer(f"{key!r} is a hard link to {at!r}, which is not there")
        _refuse_directory(key, target)
        os.link(target, place, follow_symlinks=False)

    def _hide(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        gone = None if is_reserved(parent) else hidden(name)
        if gone:
            self.gone.add(_below(self._directory(parent), gone))
        elif gone is not None:
            self.opaque.add(self._directory(parent))

    def _make(self, path: bytes, member: Member) -> None:
        attributes, place = attributes_of(member), self._place(path)
        if member.is_file:
            _write(place, member)
        elif member.is_symlink:
            place.symlink_to(os.fsdecode(fitting_target(raw(member.target))))
        else:
            os.mkfifo(place, 0o600)
        apply(place, attributes)

    def _make_directory(self, path: bytes, attributes: Attributes) -> None:
        key = self._key(path)
        if not stat.S_ISDIR(self._kind(key)):
            self._imply(key)
        self.directories[key] = attributes

    def _hard_link(self, path: bytes, target: bytes) -> None:
        """Link to what this layer has; for what it does not have yet, an empty file holds the place until the end."""
        key, at = self._key(path), self._peek(target)
        place = self._place(at)
        if at in self._pending or not (self._kind(at) or at in self._devices):
            self._place(self._free(key)).touch(0o600)
            self._pending[key] = target
        elif at in self._devices:
            self._devices.add(self._free(key))
        else:
            _refuse_directory(key, place)
            if key != at:
                # What is in the way may have the target in it.
                kept = self._root.with_name(_KEPT)
                os.link(place, kept, follow_symlinks=False)
                kept.rename(self._place(self._free(key)))

    # -- ways ---------------------------------------------------------------------------------------------------------

    def _key(self, path: bytes) -> bytes:
        parent, _, name = path.rpartition(b"/")
        return _below(self._directory(parent), name)

    def _peek(self, path: bytes) -> bytes:
        """Return where a path leads, without following a link there, and whether or not something is there."""
        parent, _, name = path.rpartition(b"/")
        return _below(self._walk(parent), name)

    def _free(self, key: bytes) -> bytes:
        """Return a path, at which nothing is any more."""
        kind = self._kind(key)
        self._pending.pop(key, None)
        self._devices.discard(key)
        if stat.S_ISDIR(kind):
            directory_trees.remove(self._place(key))
            below = key + b"/"
            for paths in (self.directories, self._pending):
                for each in [each for each in paths if each == key or each.startswith(below)]:
                    del paths[each]
            self._devices.difference_update([each for each in self._devices if each.startswith(below)])
        elif kind:
            self._place(key).unlink()
        if stat.S_ISDIR(kind) or stat.S_ISLNK(kind):
            self._ways.clear()
        return key

    def _directory(self, path: bytes) -> bytes:
        """Return the directory that a path leads to, and have it and those above it."""
        if path not in self._ways:
            key = b""
            for name in path.split(b"/") if path else ():
                key = self._enter(_below(key, name))
            self._ways[path] = key
        return self._ways[path]

    def _enter(self, key: bytes) -> bytes:
        kind = self._kind(key)
        if stat.S_ISDIR(kind):
            return key
        if not stat.S_ISLNK(kind):
            self._imply(key)
            return key
        led, at = self._walk(key), b""
        for name in led.split(b"/") if led else ():
            at = _below(at, name)
            if not stat.S_ISDIR(self._kind(at)):
                self._imply(at)
        return led

    def _imply(self, key: bytes) -> None:
        """Make a directory in place of whatever else is there."""
        self._place(self._free(key)).mkdir(_PRIVATE)
        self.directories[key] = None

    def _walk(self, path: bytes) -> bytes:
        """Return what a path leads to; what is not there is taken for directories."""
        return led_to(path, self._link)

    def _link(self, path: bytes) -> bytes | None:
        """Return where the symbolic link at a path leads, if one is there."""
        return os.fsencode(self._place(path).readlink()) if stat.S_ISLNK(self._kind(path)) else None

    def _kind(self, key: bytes) -> int:
        """Return the type of what is there; 0: nothing is."""
        return kind_of(self._place(key))

    def _place(self, path: bytes) -> Path:
        return at_path(self._root, path)


def at_path(root: Path, path: bytes) -> Path:
    """Return where a path in a directory is."""
    return root / os.fsdecode(path)


def kind_of(place: Path) -> int:
    """Return the type of what is at a place (`stat.S_IFMT`), which no link leads to; 0: nothing is."""
    try:
        return stat.S_IFMT(place.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def is_directory(root: Path, path: bytes) -> bool:
    """Tell whether a path in `root` is a directory, and no part of it a link, which could lead anywhere."""
    at = root
    for name in path.split(b"/") if path else ():
        at = at_path(at, name)
        if not stat.S_ISDIR(kind_of(at)):
            return False
    return True


def apply(place: Path, attributes: Attributes) -> None:
    """Give owner, rights and time to what is at a place: root as they are, other users without what needs root.

    A program that becomes its owner would become this user, for whoever runs it; so setuid and setgid go with owners.
    """
    is_link, is_root = place.is_symlink(), os.geteuid() == 0
    if is_root:
        os.lchown(place, attributes.uid, attributes.gid)
    if not is_link:
        place.chmod(attributes.mode if is_root else attributes.mode & 0o1777)
        for name, value in attributes.xattrs.items():
            if name.startswith(_USERS) or (is_root and name == _CAPABILITY):
                with contextlib.suppress(OSError):  # a file system without such attributes
                    os.setxattr(place, name, value)
    mtime = min(max(attributes.mtime, 0), _LATEST)
    os.utime(place, (mtime, mtime), follow_symlinks=False)


def _write(place: Path, member: Member) -> None:
    """Write a file, whose blocks of zeros are holes."""
    file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for chunk in member.chunks():
            if chunk == _ZEROS[: len(chunk)]:
                os.lseek(file, len(chunk), os.SEEK_CUR)
                continue
            data = memoryview(chunk)
            while data:
                data = data[os.write(file, data) :]
        os.ftruncate(file, member.size)
    finally:
        os.close(file)


def _refuse_directory(key: bytes, target: Path) -> None:
    if stat.S_ISDIR(kind_of(target)):
        raise BrokenLayer(f"the hard link {key!r} leads to a directory")


def _below(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name if above else name
