"""The files of a segment while they are written: hashed at once, and no larger than the room that was set aside."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from wavelet.archive.layer_writer import Outgrown
from wavelet.image.reference import Digest


class Room:
    """Bytes that may be written in all."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size

    def take(self, size: int) -> None:
        """Take note of bytes.

        Raises:
            Outgrown: there are more than were set aside.
        """
        self._left -= size
        if self._left < 0:
            raise Outgrown(f"a layer's segment has more than the {self._size} bytes that were set aside for it")

    def give(self, size: int) -> None:
        """Take note of bytes that are there no longer."""
        self._left += size


class Written(NamedTuple):
    """A finished file: its digest, and its size in bytes."""

    digest: Digest
    size: int


class HashedFile:
    """A new file, written from its beginning to its end. A context manager.

    Attributes:
        size: bytes that were written.
    """

    def __init__(self, path: Path, room: Room) -> None:
        self._file = path.open("xb")
        self._room = room
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        """Write all of `data`; return how many bytes that are."""
        self._room.take(len(data))
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def mark(self) -> Mark:
        """Return where it ends now, for `back`."""
        return Mark(self.size, self._hash.copy())

    def back(self, to: Mark) -> None:
        """Let go of what was written since a mark."""
        self._file.seek(to.size)
        self._file.truncate()
        self._room.give(self.size - to.size)
        self.size, self._hash = to.size, to.hash.copy()

    def finish(self) -> Written:
        """Return what was written; it is in the file."""
        self._file.flush()
        return Written(Digest(f"sha256:{self._hash.hexdigest()}"), self.size)


class Mark(NamedTuple):
    """A place in a `HashedFile`."""

    size: int
    hash: hashlib._Hash
