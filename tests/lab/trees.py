"""Trees of files as rows that can be compared: what a reader sees of an image, and wherein two readings differ."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}
CAPABILITY = "security.capability"
"""The attribute that gives a program rights of root."""

_SHOWN = 20
"""How many differences are told."""


@dataclass(frozen=True)
class Entry:
    """What there is at a path.

    Attributes:
        kind: `directory`, `file`, `link`, `fifo`, `device` or `socket`.
        mode: permissions with setuid, setgid and sticky; 0 for a link, which has none.
        size: bytes of a file.
        sha256: of its content, in hexadecimal.
        target: where a link leads.
        names: the number of names it has, where it is no directory.
        others: its other names in this tree, sorted.
        mtime: whole seconds.
        xattrs: those of `user.*` and `security.capability`, by name.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str
    target: bytes
    names: int
    others: tuple[bytes, ...]
    mtime: int
    xattrs: tuple[tuple[str, bytes], ...]


Tree = Mapping[bytes, Entry]
"""Entries by path, relative to the root, which is the empty path."""


def read(root: Path) -> Tree:
    """Read a tree of files, every byte of it and every attribute; nothing is followed out of it."""
    found = {os.fsencode(place)[len(bytes(root)) + 1 :]: (place, place.lstat()) for place in _places(root)}
    names: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for path, (_, about) in found.items():
        if about.st_nlink > 1 and not stat.S_ISDIR(about.st_mode):
            names[about.st_dev, about.st_ino].append(path)
    return {
        path: _entry(place, about, tuple(sorted(set(names[about.st_dev, about.st_ino]) - {path})))
        for path, (place, about) in found.items()
    }


def _places(root: Path) -> Iterator[Path]:
    yield root
    for directory, directories, files in os.walk(root, onerror=_refuse):
        yield from (Path(directory, name) for name in (*directories, *files))


def _refuse(error: OSError) -> None:
    raise error


def _entry(place: Path, about: os.stat_result, others: tuple[bytes, ...]) -> Entry:
    kind = _KINDS[stat.S_IFMT(about.st_mode)]
    return Entry(
        kind=kind,
        mode=0 if kind == "link" else stat.S_IMODE(about.st_mode),
        uid=about.st_uid,
        gid=about.st_gid,
        size=about.st_size if kind == "file" else 0,
        sha256=_sha256(place) if kind == "file" else "",
        target=os.fsencode(place.readlink()) if kind == "link" else b"",
        names=1 if kind == "directory" else about.st_nlink,
        others=others,
        mtime=about.st_mtime_ns // 1_000_000_000,
        xattrs=tuple(_xattrs(place)),
    )


def _sha256(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _xattrs(place: Path) -> Iterator[tuple[str, bytes]]:
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # Linux says that of a squashfs image that has none at all
            raise
        return
    for name in sorted(names):
        if name.startswith("user.") or name == CAPABILITY:
            yield name, os.getxattr(place, name, follow_symlinks=False)


def without(tree: Tree, *left_out: bytes) -> Tree:
    """Return the tree without these paths and what is below them."""

    def stays(path: bytes) -> bool:
        return not any(path == each or path.startswith(each + b"/") for each in left_out)

    return {path: entry for path, entry in tree.items() if stays(path)}


def of_kinds(tree: Tree, *kinds: str) -> Tree:
    """Return the entries of these kinds."""
    return {path: entry for path, entry in tree.items() if entry.kind in kinds}


def differences(
    expected: Tree, seen: Tree, *, unequal: Callable[[bytes, str], bool] = lambda path, attribute: False
) -> list[str]:
    """Say wherein a tree differs from what is expected, a line for each path and attribute.

    Args:
        expected: the tree as it should be.
        seen: the tree as it was read.
        unequal: whether an attribute may differ at a path.
    """
    lines = [f"{_shown(path)}: missing, {entry.kind}" for path, entry in _only(expected, seen)]
    lines += [f"{_shown(path)}: not expected, {entry.kind}" for path, entry in _only(seen, expected)]
    for path in sorted(expected.keys() & seen.keys()):
        for field in fields(Entry):
            wanted, found = (getattr(tree[path], field.name) for tree in (expected, seen))
            if wanted != found and not unequal(path, field.name):
                lines.append(
                    f"{_shown(path)}: {field.name} is {_value(field.name, found)}, "
                    f"expected {_value(field.name, wanted)}"
                )
    return lines


def assert_equal(
    expected: Tree, seen: Tree, *, unequal: Callable[[bytes, str], bool] = lambda path, attribute: False
) -> None:
    """Hold a tree against what is expected; the message has the first differences, and how many there are."""
    lines = differences(expected, seen, unequal=unequal)
    assert not lines, "\n".join([f"{len(lines)} differences", *lines[:_SHOWN]])


def _only(tree: Tree, other: Tree) -> Iterable[tuple[bytes, Entry]]:
    return ((path, tree[path]) for path in sorted(tree.keys() - other.keys()))


def _shown(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")


def _value(attribute: str, value: object) -> str:
    return f"{value:04o}" if attribute == "mode" and isinstance(value, int) else repr(value)
