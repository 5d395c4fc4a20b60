"""Layers as the kernel's overlay puts them together: each unpacked beside the others, whiteouts as it has them."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lab import trees
from lab.processes import run

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_XATTR = "SCHILY.xattr."


@contextlib.contextmanager
def merged(layers: Sequence[bytes], scratch: Path) -> Iterator[Path]:
    """Mount tars over each other, the lowest first, as root.

    Entries whose parents are links, and hard links to what another layer has, are not for it.
    """
    empty, place = scratch / "empty", scratch / "merged"
    for directory in (empty, place):
        directory.mkdir()
    for number, layer in enumerate(layers):
        _unpack(layer, scratch / str(number))
    # Paths that are as short as can be: mount(2) takes a page of options.
    lower = ":".join([*(str(number) for number in reversed(range(len(layers)))), "empty"])
    run(["env", f"--chdir={scratch}", "mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lower}", "merged"])
    try:
        yield place
    finally:
        run(["umount", place])


def tree(layers: Sequence[bytes], scratch: Path) -> trees.Tree:
    """Return the tree of tars that lie over each other, the lowest first."""
    with merged(layers, scratch) as root:
        return trees.read(root)


def _unpack(layer: bytes, place: Path) -> None:
    place.mkdir()
    with tarfile.open(fileobj=io.BytesIO(layer), encoding="utf-8", errors="surrogateescape") as tar:
        members = tar.getmembers()
        marks = [member for member in members if PurePosixPath(member.name).name.startswith(_WHITEOUT)]
        for member in marks:
            _mark(place, PurePosixPath(member.name))
        kept = [member for member in members if member not in marks]
        for member in kept:
            _make_way(place / member.name, member)
        # Not by the parameter `filter`, which Python has from 3.11.4 on.
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        tar.extractall(place, kept, numeric_owner=True)
    for member in kept:
        _set_what_tarfile_does_not(place / member.name, member)


def _set_what_tarfile_does_not(path: Path, member: tarfile.TarInfo) -> None:
    if member.issym():
        os.utime(path, (0, member.mtime), follow_symlinks=False)
    for name, value in member.pax_headers.items():
        if name.startswith(_XATTR):
            os.setxattr(path, name.removeprefix(_XATTR), os.fsencode(value), follow_symlinks=False)


def _mark(place: Path, name: PurePosixPath) -> None:
    directory = place / name.parent
    directory.mkdir(parents=True, exist_ok=True)
    if name.name == _OPAQUE:
        os.setxattr(directory, "trusted.overlay.opaque", b"y")
    else:
        os.mknod(directory / name.name.removeprefix(_WHITEOUT), stat.S_IFCHR, os.makedev(0, 0))


def _make_way(path: Path, member: tarfile.TarInfo) -> None:
    """Put an entry in the place of the whiteout of its own name: it stands, and hides what is below it."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISCHR(path.lstat().st_mode):
            path.unlink()
            if member.isdir():
                path.mkdir()
                os.setxattr(path, "trusted.overlay.opaque", b"y")
