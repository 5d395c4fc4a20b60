"""The format of a layer's tar: ustar headers, and PAX records where a value does not fit, as bytes. Pure.

Everything that says where and by whom a layer was made is left out: owner 0, no names of users, one of two modes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

RECORD = 512
"""Bytes of a header, and what contents are filled up to."""
END = bytes(2 * RECORD)
"""What ends an archive."""

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
DIRECTORY: Final = b"5"
PAX: Final = b"x"
"""Types of entries (POSIX.1-2001, pax, "ustar Interchange Format")."""

XATTR: Final = b"SCHILY.xattr."
"""What PAX records of extended attributes begin with, in the tars of all engines."""


def byte_sum(data: bytes) -> int:
    """Return the sum of all bytes, modulo 65521: exactly, for ASCII of a header's length. Far faster than `sum`."""
    return (zlib.adler32(data) - 1) % 65536 % 65521


def padding(size: int) -> bytes:
    """Return what follows contents of `size` bytes."""
    return bytes(-size % RECORD)


DIRECTORY_TIME = 315_532_800
"""The time of all directories, 1980-01-01: archives of packages have none for most."""

_NAME_LIMIT = 100
_NUMBER_LIMIT = 8**11
"""Sizes and times from here on do not fit into 11 octal digits."""
_OWNER = b"0000000\0" * 2
_REST = b"ustar\x0000" + bytes(32 + 32) + _OWNER + bytes(155 + 12)


@dataclass(frozen=True, slots=True)
class TarEntries:
    """Entries below one directory, with which their names begin, and never with one above it: that is the base's.

    Paths are relative to it. One that begins with a slash is the image's own.

    Attributes:
        root: that directory, without slashes at its ends.
    """

    root: str

    def file_header(self, path: str, size: int, mtime: int, *, executable: bool) -> bytes:
        """Return what goes before `size` bytes of a regular file, readable by all."""
        return entry(self._named(path), FILE, 0o755 if executable else 0o644, mtime, size=size)

    def symlink(self, path: str, target: str, mtime: int) -> bytes:
        """Return the entry of a symbolic link; its target is kept as it is."""
        return entry(self._named(path), SYMLINK, 0o777, mtime, target=target)

    def hard_link(self, path: str, to: str, mtime: int, *, executable: bool) -> bytes:
        """Return the entry of one more name of `to`, a file further up in the same archive."""
        mode = 0o755 if executable else 0o644
        return entry(self._named(path), HARD_LINK, mode, mtime, target=self._named(to))

    def directories(self, paths: Iterable[str]) -> bytes:
        """Return the entries of directories, parents before children."""
        return b"".join(entry(f"{self._named(p)}/", DIRECTORY, 0o755, DIRECTORY_TIME) for p in sorted(paths))

    def _named(self, path: str) -> str:
        if path.startswith("/"):
            return path[1:]
        return f"{self.root}/{path}" if path else self.root


def entry(
    name: str,
    kind: bytes,
    mode: int,
    mtime: int,
    *,
    size: int = 0,
    target: str = "",
    records: Mapping[bytes, bytes] = MappingProxyType({}),
) -> bytes:
    """Return the headers of one entry of owner 0; a directory's name ends with a slash.

    `records` are of its extended header: extended attributes (`XATTR` and their names), and what vendors say.
    """
    raw_name, raw_target = name.encode(), target.encode()
    said = sorted(records.items())
    if len(raw_name) > _NAME_LIMIT or not name.isascii():
        said.append((b"path", raw_name))
        raw_name = _shortened(name)
    if len(raw_target) > _NAME_LIMIT or not target.isascii():
        said.append((b"linkpath", raw_target))
        raw_target = _shortened(target)
    if size >= _NUMBER_LIMIT:
        said.append((b"size", b"%d" % size))
        size = 0
    header = _header(raw_name, kind, mode, mtime, size, raw_target)
    if not said:
        return header
    data = b"".join(_record(key, value) for key, value in said)
    return _header(b"PaxHeader", PAX, 0o644, 0, len(data), b"") + data + padding(len(data)) + header


def _shortened(name: str) -> bytes:
    """Return what readers without PAX see."""
    return name.encode("ascii", "replace")[:_NAME_LIMIT]


def _header(name: bytes, kind: bytes, mode: int, mtime: int, size: int, target: bytes) -> bytes:
    time = min(max(mtime, 0), _NUMBER_LIMIT - 1)
    start = b"%b%07o\0%b%011o\0%011o\0" % (name.ljust(_NAME_LIMIT, b"\0"), mode, _OWNER, size, time)
    rest = b" %b%b%b" % (kind, target.ljust(_NAME_LIMIT, b"\0"), _REST)
    return b"%b%06o\0%b" % (start, byte_sum(start) + byte_sum(rest) + 7 * ord(" "), rest)


def _record(key: bytes, value: bytes) -> bytes:
    """Return `<length> <key>=<value>` and a line's end; the length counts all of it, its own digits too."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    length = bare + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)
