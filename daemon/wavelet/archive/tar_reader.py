"""The reader of tars that can only be read forwards, under bounds: packages, layers of images, what engines hand out.

The formats that they come in: ustar and PAX (POSIX.1-2001), and GNU's with its long names and sparse files. This is
read for each of some hundred thousand files of an environment, and `tarfile` takes several times as long.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import zstandard

from wavelet.archive.gzip_members import BROKEN_GZIP
from wavelet.archive.tar_format import DIRECTORY, HARD_LINK, PAX, RECORD, SYMLINK, byte_sum
from wavelet.errors import UpstreamBroken

CHUNK = 256 * 1024
"""Bytes of a member that are in memory at a time."""
MEMBERS = 1_000_000
"""Members that an archive may have, where nothing else is said."""

DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    BROKEN_GZIP,
    zstandard.ZstdError,
)
"""What readers raise on a damaged archive; of bz2 it is OSError."""

_ZEROS = bytes(RECORD)
_HEADER = 1024 * 1024
"""Bytes that a long name or a PAX header may have."""
_HEADERS = 16
"""Headers in a row that say more of the one that follows."""
_FILES: Final = (b"0", b"\0", b"7", b"S")
_SPARSE: Final = b"S"
_HEADER_ONLY = (HARD_LINK, SYMLINK, b"3", b"4", DIRECTORY, b"6")
"""Types that have no contents, whatever size their header says: links, devices, directories, named pipes."""
_PAX_GLOBAL, _LONG_NAME, _LONG_TARGET = b"g", b"L", b"K"

_SPARSE_PARTS: Final = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
"""Records that a sparse file has for each of its parts, in turn (GNU tar, "PAX Format, Version 0.0")."""

Segment = tuple[int, int]
"""Offset and length of a part of a sparse file that is there."""


class Raw(Protocol):
    """A file, pipe or decompressor."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class Bounds:
    """How much may come out of an archive: bytes in all, and members.

    Attributes:
        broken: makes an error of what is wrong with the archive.
    """

    def __init__(
        self,
        limit: int,
        broken: Callable[[str], UpstreamBroken],
        *,
        setting: str = "",
        members: float | None = None,
    ) -> None:
        """Allow `limit` bytes, for which errors name the `setting`, and so many `members`: `MEMBERS`, unless said."""
        self._limit = self._left = limit
        self._setting = f" ({setting})" if setting else ""
        self._members_limit = self._members = MEMBERS if members is None else members
        self.broken = broken

    def count(self, size: int) -> None:
        """Take note of bytes."""
        self._left -= size
        if self._left < 0:
            limit = f"{self._limit} bytes, all that is accepted of it{self._setting}"
            raise self.broken(f"it inflates to more than {limit}")

    def count_member(self) -> None:
        """Take note of a member."""
        self._members -= 1
        if self._members < 0:
            raise self.broken(f"it has more than {self._members_limit:.0f} members")


class Member:
    """One member of a tar.

    Attributes:
        path: in the archive; not checked.
        size: bytes of its contents, if it is a file.
        mtime: seconds since the epoch.
        executable: whether anybody may execute it.
        target: of a symbolic link, as it is; of a hard link, the path of the other member.
        is_file, is_symlink, is_hard_link, is_directory: its kind; none of them for devices and the like.
        header, said: its own header, and what those before it say of it; `archive/tar_attributes.py` reads the rest.
    """

    __slots__ = (
        "_segments",
        "_stream",
        "executable",
        "header",
        "is_directory",
        "is_file",
        "is_hard_link",
        "is_symlink",
        "mtime",
        "path",
        "said",
        "size",
        "target",
    )

    header: bytes
    said: dict[bytes, bytes]

    def __init__(self, path: str, kind: bytes, size: int, mtime: int, mode: int, target: str, stream: Forward) -> None:
        is_old_directory = kind == b"\0" and path.endswith("/")
        self.path = path.removeprefix("./").rstrip("/")
        self.size = size
        self.mtime = mtime
        self.executable = bool(mode & 0o111)
        self.is_file = kind in _FILES and not is_old_directory
        self.is_symlink = kind == SYMLINK
        self.is_hard_link = kind == HARD_LINK
        self.is_directory = kind == DIRECTORY or is_old_directory
        self.target = target.removeprefix("./") if self.is_hard_link else target
        self._stream = stream
        self._segments: list[Segment] | None = None

    def make_sparse(self, size: int, segments: list[Segment]) -> None:
        """Have contents of `size` bytes, of which the archive has only `segments`."""
        self.size = size
        self._segments = segments

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents, once, at most `CHUNK` bytes at a time."""
        if self._segments is None:
            return self._stream.chunks(self.size)
        return self._sparse(self._segments)

    def _sparse(self, segments: list[Segment]) -> Iterator[bytes]:
        at = 0
        for offset, length in (*segments, (self.size, 0)):
            if not at <= offset <= offset + length <= self.size:
                raise self._stream.bounds.broken(f"{self.path} is a sparse file whose parts do not fit it")
            yield from self._stream.zeros(offset - at)
            yield from self._stream.chunks(length)
            at = offset + length


def members_of(raw: Raw, bounds: Bounds) -> Iterator[Member]:
    """Yield the members of a tar; contents are there until the next one is asked for.

    Raises:
        UpstreamBroken: it is damaged or passes its bounds, here or while contents are read.
    """
    stream = Forward(raw, bounds)
    while (read := _next(stream)) is not None:
        member, stored = read
        bounds.count_member()
        end = stream.at + stored + -stored % RECORD
        yield member
        stream.skip(end - stream.at)
    stream.drain()


class Forward:
    """A decompressor with a position.

    Attributes:
        at: bytes that have been read.
        bounds: what all reading is held against.
    """

    def __init__(self, raw: Raw, bounds: Bounds) -> None:
        self._raw = raw
        self._data = b""
        self._used = 0
        self.at = 0
        self.bounds = bounds

    def take(self, size: int) -> bytes:
        """Return `size` bytes in one piece, fewer at the end."""
        end = self._used + size
        if end <= len(self._data):
            data = self._data[self._used : end]
            self._used = end
        else:
            data = self._data[self._used :]
            while len(data) < size and self._fill():
                self._used = size - len(data)
                data += self._data[: self._used]
            self._used = min(self._used, len(self._data))
        self.at += len(data)
        return data

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes."""
        while size:
            if self._used == len(self._data) and not self._fill():
                raise self.bounds.broken("the archive is damaged (it ends in the middle of a file)")
            data = self._data[self._used : self._used + size] if self._used or size < len(self._data) else self._data
            self._used += len(data)
            self.at += len(data)
            size -= len(data)
            yield data

    def skip(self, size: int) -> None:
        """Go over `size` bytes."""
        for _ in self.chunks(size):
            pass

    def drain(self) -> None:
        """Read what is behind the end of the tar: only then checksums of what is around it have been compared."""
        while self._fill():
            pass

    def zeros(self, size: int) -> Iterator[bytes]:
        """Yield `size` zeros, which count as if they had been read."""
        while size:
            length = min(size, CHUNK)
            self.bounds.count(length)
            size -= length
            yield bytes(length)

    def _fill(self) -> bool:
        try:
            self._data = self._raw.read(CHUNK)
        except DAMAGED as error:
            raise self.bounds.broken(f"the archive is damaged ({error})") from None
        self._used = 0
        self.bounds.count(len(self._data))
        return bool(self._data)


def _next(stream: Forward) -> tuple[Member, int] | None:
    """Return the next member, and how many bytes of contents the archive has for it."""
    said: dict[bytes, bytes] = {}
    for _ in range(_HEADERS):
        header = stream.take(RECORD)
        if header == _ZEROS or not header.strip(b"\0"):
            return None
        try:
            if len(header) < RECORD:
                raise ValueError("it ends in a header")
            kind, size = _checked(header)
            if kind in (PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_TARGET):
                data = _further(stream, size)
                said |= _PARSERS[kind](data)
                continue
            return _member(header, kind, said, stream)
        except (ValueError, OverflowError) as error:
            raise stream.bounds.broken(f"the archive is not well-formed ({error})") from None
    raise stream.bounds.broken(f"the archive is not well-formed (more than {_HEADERS} headers of one member)")


def _checked(header: bytes) -> tuple[bytes, int]:
    """Return kind and size of a header whose sum is right."""
    if number(header[148:156]) % 65521 != byte_sum(header[:148] + b" " * 8 + header[156:]):
        raise ValueError("a header's checksum is wrong")
    size = number(header[124:136])
    if size < 0:
        raise ValueError("a member has a negative size")
    return header[156:157], size


def _member(header: bytes, kind: bytes, said: dict[bytes, bytes], stream: Forward) -> tuple[Member, int]:
    size = int(said[b"size"]) if b"size" in said else number(header[124:136])
    mtime = int(float(said[b"mtime"])) if b"mtime" in said else number(header[136:148])
    path = said.get(b"GNU.sparse.name") or said.get(b"path") or _name(header)
    target = said.get(b"linkpath") or _text(header[157:257])
    if size < 0:
        raise ValueError("a member has a negative size")
    stored = 0 if kind in _HEADER_ONLY else size
    member = Member(_decoded(path), kind, stored, mtime, number(header[100:108]), _decoded(target), stream)
    member.header, member.said = header, said
    if kind == _SPARSE:
        member.make_sparse(number(header[483:495]), _segments(header, stream))
    elif b"GNU.sparse.map" in said:
        numbers = [int(number) for number in said[b"GNU.sparse.map"].split(b",")]
        member.make_sparse(int(said.get(b"GNU.sparse.size", b"")), _pairs(numbers))
    elif said.get(b"GNU.sparse.major") == b"1":
        begin = stream.at
        member.make_sparse(int(said.get(b"GNU.sparse.realsize", b"")), _segments_in_front(stream, stored))
        stored -= stream.at - begin
    elif b"GNU.sparse.size" in said:
        raise ValueError("a sparse file in a format that is not known here")
    return member, stored


def _segments_in_front(stream: Forward, stored: int) -> list[Segment]:
    """Read the map that is in front of a sparse file's contents (GNU tar, "PAX Format, Version 1.0")."""
    lines: list[bytes] = [b""]
    wanted = 1
    left = min(stored, _HEADER)
    while len(lines) <= wanted:
        left -= RECORD
        record = stream.take(RECORD)
        if left < 0 or len(record) < RECORD:
            raise ValueError("a sparse file with too many parts")
        first, *more = record.split(b"\n")
        lines[-1] += first
        lines += more
        if len(lines) > 1:
            wanted = 1 + 2 * int(lines[0])
    return _pairs([int(line) for line in lines[1:wanted]])


def _pairs(numbers: list[int]) -> list[Segment]:
    """Return offsets and lengths in turn as segments."""
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _segments(header: bytes, stream: Forward) -> list[Segment]:
    """Read GNU's map of a sparse file: four parts in the header, and more in records after it if it says so."""
    fields, more = header[386:482], header[482]
    while more:
        if len(fields) > _HEADER:
            raise ValueError("a sparse file with too many parts")
        record = stream.take(RECORD)
        if len(record) < RECORD:
            raise ValueError("it ends in a header")
        fields, more = fields + record[:504], record[504]
    starts = range(0, len(fields), 24)
    return [(number(fields[at : at + 12]), number(fields[at + 12 : at + 24])) for at in starts if fields[at]]


def _further(stream: Forward, size: int) -> bytes:
    if size > _HEADER:
        raise ValueError(f"a header of {size} bytes; no more than {_HEADER} are read")
    data = stream.take(size + -size % RECORD)
    if len(data) < size:
        raise ValueError("it ends in a header")
    return data[:size]


def _pax(data: bytes) -> dict[bytes, bytes]:
    """Read PAX records, `<length> <key>=<value>` and a line's end each. An empty value takes back what was said."""
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 20].partition(b" ")
        end = at + int(length)
        key, equals, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        is_cut = b"\0" in value and key in (b"path", b"linkpath", b"GNU.sparse.name")  # others would end it there
        if not blank or not equals or not at < end <= len(data) or is_cut:
            raise ValueError("a PAX record is wrong")
        at = end
        if key in _SPARSE_PARTS:
            sparse.append(value)
        elif value:
            records[key] = value
        else:
            records.pop(key, None)
    return records | {b"GNU.sparse.map": b",".join(sparse)} if sparse else records


_PARSERS: dict[bytes, Callable[[bytes], dict[bytes, bytes]]] = {
    PAX: _pax,
    _PAX_GLOBAL: lambda data: {},
    _LONG_NAME: lambda data: {b"path": _text(data)},
    _LONG_TARGET: lambda data: {b"linkpath": _text(data)},
}
"""What a header says of the next one. A global one says nothing of single files that could matter here."""


def _name(header: bytes) -> bytes:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        return _text(header[345:500]) + b"/" + name
    return name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def number(field: bytes) -> int:
    """Read an octal number, or a binary one, as GNU writes what is too large for octal digits."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:] if field[0] == 0x80 else field, "big", signed=field[0] == 0xFF)
    return int(field.rstrip(b"\0 ") or b"0", 8)


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
