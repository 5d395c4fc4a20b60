"""What layers are made of, as entries: a directory of the pack, single files of it, a tar. Blocks; run in a worker.

Of a directory and of files, what depends on who has unpacked them is left out: owner and time are 0, a file is 0755 or
0644, and a directory that has something in it is only there by that, so that the image's own keeps its rights. What a
tar says of modes and times was said on purpose, and stays.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wavelet import plain_files
from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_attributes import attributes_of
from wavelet.archive.tar_format import DIRECTORY, FILE, HARD_LINK, SYMLINK
from wavelet.archive.tar_reader import CHUNK, DAMAGED, Bounds, Member, members_of
from wavelet.directory_trees import TooDeep, walk
from wavelet.errors import UpstreamBroken
from wavelet.packs.members import refused
from wavelet.packs.spec import DirectorySource, FilesSource

SIZE_LIMIT = 8 * 1024**3
"""Bytes of files that a layer of a pack may have."""

FILES_LIMIT = 200_000
"""Entries that a layer of a pack may have."""

CAPABILITY = "security.capability"
"""The extended attribute of a file that gives whoever runs it capabilities (capabilities(7))."""

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_TAR_SPECIAL = {b"3": "a device", b"4": "a device", b"6": "a named pipe"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer.

    Attributes:
        path: in the image, relative to its root; not checked.
        kind: as tars have it; of what a layer may not have, a word for it (`a device`).
        mode: permissions with setuid, setgid and sticky bits.
        mtime: seconds since the epoch.
        size: bytes of a file's contents, which `chunks` come to.
        target: of a symbolic link, as it is; of a hard link, the path of the other entry.
        capabilities: what `CAPABILITY` says; empty: nothing.
    """

    path: str
    kind: bytes | str
    mode: int = 0o644
    mtime: int = 0
    size: int = 0
    target: str = ""
    capabilities: bytes = b""
    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()), compare=False)


def of_directory(root: Path, source: DirectorySource, place: str) -> Iterator[Entry]:
    """Yield what is in a directory of the pack whose directory is `root`, in the order of the paths.

    Raises:
        PackRefused: it is no directory, leads out of the pack, or has something that cannot be read.
    """
    at = f"{place}.directory"
    top = inside(root, source.path, at)
    if not top.is_dir():
        raise refused(at, f"{source.path!r} is not a directory")
    try:
        found = sorted((_utf8(each.path[len(str(top)) + 1 :]), Path(each.path)) for each in walk(top))
    except TooDeep as error:
        raise refused(at, error.args[0]) from None
    except OSError as error:
        raise refused(at, f"{error.filename}: {error.strerror}") from None
    above = {os.path.dirname(path) for path, _ in found}  # noqa: PTH120
    for path, file in found:
        if path not in above:
            yield from _of_file(file, f"{source.to}/{path}" if source.to else path, at)


def of_files(root: Path, source: FilesSource, place: str) -> Iterator[Entry]:
    """Yield single files of a pack, in the order of their paths in the image.

    Raises:
        PackRefused: one is no file, or leads out of the pack.
    """
    for target, path in source.files:
        at = f"{place}: /{target}"
        file = inside(root, path, at)
        if not file.is_file():
            raise refused(at, f"{path!r} is {'a directory' if file.is_dir() else 'no file'} in the pack")
        yield from _of_file(file, target, at, source.mode)


def inside(root: Path, path: str, place: str) -> Path:
    """Return where a path of a pack leads.

    Raises:
        PackRefused: nowhere, or by links out of the pack's directory.
    """
    real = root.resolve()
    try:
        found = (real / path).resolve(strict=True)
    except (OSError, RuntimeError):  # a loop of links
        raise refused(place, f"there is no {path!r} in the pack") from None
    if not found.is_relative_to(real):
        raise refused(place, f"{path!r} leads out of the directory of the pack, to {found}")
    return found


def _of_file(file: Path, path: str, place: str, mode: int | None = None) -> Iterator[Entry]:
    try:
        status = file.lstat()
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            yield Entry(path, SYMLINK, 0o777, target=_utf8(str(file.readlink())))
        elif kind == stat.S_IFDIR:
            yield Entry(path, DIRECTORY, 0o755)
        elif kind == stat.S_IFREG:
            with plain_files.opened(file) as descriptor:
                status = os.fstat(descriptor)
                rights = _mode(status.st_mode) if mode is None else mode
                capabilities = _capabilities(descriptor)
                chunks = _chunks(descriptor, status.st_size)
                yield Entry(path, FILE, rights, size=status.st_size, capabilities=capabilities, chunks=chunks)
        else:
            yield Entry(path, _SPECIAL.get(kind, "something else"))
    except OSError as error:
        raise refused(place, f"{file}: {error.strerror}") from None


def _utf8(name: str) -> str:
    """Return a name of the file system as UTF-8 has it, whatever encoding the daemon was started with."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _mode(mode: int) -> int:
    return (mode & (stat.S_ISUID | stat.S_ISGID)) | (0o755 if mode & 0o100 else 0o644)


def _capabilities(descriptor: int) -> bytes:
    try:
        return os.getxattr(descriptor, CAPABILITY)
    except OSError:  # there are none, or the file system has no attributes
        return b""


def _chunks(descriptor: int, size: int) -> Iterator[bytes]:
    while size and (data := os.read(descriptor, min(size, CHUNK))):
        size -= len(data)
        yield data


def of_tar(file: Path, place: str, *, may_be_empty: bool = False) -> Iterator[Entry]:
    """Yield what a tar has, in its order; its first bytes tell how it is compressed.

    Raises:
        PackRefused: it is no tar, is damaged, inflates to more than `SIZE_LIMIT`, or has nothing in it and may not be
            empty.
    """

    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"{place}: {why}")

    bounds = Bounds(SIZE_LIMIT + FILES_LIMIT * 2048, broken, members=FILES_LIMIT)
    empty = not may_be_empty
    try:
        with open_inflated(file) as raw:
            for member in members_of(raw, bounds):
                empty = False
                if member.path not in ("", "."):
                    yield _of_member(member)
    except UpstreamBroken as error:
        raise refused(place, error.message.removeprefix(f"{place}: ")) from None
    except (*DAMAGED, ValueError) as error:
        raise refused(place, f"the tar cannot be read: {error}") from None
    if empty:
        raise refused(place, "is not a tar, or has nothing in it")


def _of_member(member: Member) -> Entry:
    said = attributes_of(member)
    path, mtime = member.path.lstrip("/"), max(0, said.mtime)
    capabilities = said.xattrs.get(CAPABILITY.encode(), b"")
    if member.is_file:
        return Entry(path, FILE, said.mode, mtime, member.size, "", capabilities, member.chunks())
    if member.is_hard_link:
        return Entry(path, HARD_LINK, said.mode, mtime, target=member.target.lstrip("/"))
    if member.is_symlink:
        return Entry(path, SYMLINK, 0o777, mtime, target=member.target)
    if member.is_directory:
        return Entry(path, DIRECTORY, said.mode, mtime)
    return Entry(path, _TAR_SPECIAL.get(member.header[156:157], "something that layers cannot have"))
