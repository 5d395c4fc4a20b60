"""The entries of a tar that can only be read forwards: an image's layer, or what an engine hands out."""

from __future__ import annotations

import math
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import zstandard

from wavelet.errors import WaveletError

CHUNK = 256 * 1024
"""Bytes of contents that are in memory at a time."""

_HEADERS = 1024 * 1024
"""Bytes that an entry's headers stay under, long names among them."""
DAMAGED = (
    tarfile.TarError,
    OSError,
    EOFError,
    zlib.error,
    zstandard.ZstdError,
    ValueError,
    OverflowError,
    LookupError,
    RecursionError,
)
"""What readers raise on what is damaged, or makes no sense: `tarfile` recurses over headers that belong to headers."""


class Raw(Protocol):
    """A file or decompressor."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


class Member:
    """One entry.

    Attributes:
        path: as it is, without slashes at its ends.
        size: bytes of contents, if it is a file.
        mtime: seconds since the epoch.
        executable: whether anybody may execute it.
        target: of a symbolic link, as it is; of a hard link, the path of the other entry.
        is_file, is_symlink, is_hard_link, is_directory: its kind; none of them for devices and the like.
    """

    def __init__(self, info: tarfile.TarInfo, contents: Callable[[], Iterator[bytes]]) -> None:
        self.path = info.name.removeprefix("./").strip("/")
        self.size = info.size
        self.mtime = max(int(info.mtime), 0)
        self.executable = bool(info.mode & 0o111)
        self.is_file = info.isreg()
        self.is_symlink = info.issym()
        self.is_hard_link = info.islnk()
        self.is_directory = info.isdir()
        self.target = info.linkname.removeprefix("./").strip("/") if self.is_hard_link else info.linkname
        self.chunks = contents


def members_of(raw: Raw, broken: Callable[[str], WaveletError]) -> Iterator[Member]:
    """Yield the entries; contents are there until the next one is asked for.

    Raises:
        WaveletError: what `broken` makes of the reason, here or while contents are read.
    """
    bounded = _Bounded(raw)
    try:
        bounded.allow(_HEADERS)
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r|", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
                bounded.allow(math.inf)
                contents = _contents(tar, info, broken)
                yield Member(info, lambda contents=contents: contents)  # type: ignore[misc]
                for _ in contents:
                    pass
                bounded.allow(_HEADERS)
    except DAMAGED as error:
        raise broken(str(error) or type(error).__name__) from None


def _contents(tar: tarfile.TarFile, info: tarfile.TarInfo, broken: Callable[[str], WaveletError]) -> Iterator[bytes]:
    if not info.isreg():
        return
    try:
        opened = tar.extractfile(info)
        while opened is not None and (chunk := opened.read(CHUNK)):
            yield chunk
    except DAMAGED as error:
        raise broken(str(error) or type(error).__name__) from None


class _Bounded:
    """Reads no further than it is allowed to."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._left: float = 0

    def allow(self, size: float) -> None:
        self._left = size

    def read(self, size: int) -> bytes:
        data = self._raw.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"an entry has headers of more than {_HEADERS} bytes")
        return data
