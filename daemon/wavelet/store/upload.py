"""An upload: content that comes in pieces, perhaps with long pauses, and whose digest is said at its end.

Its room is set aside as bytes arrive, never because somebody has announced them. No descriptor is held in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of
from wavelet.store.draining import hash_and_write
from wavelet.store.files import create
from wavelet.store.room import Room

_BLOCK = 1024 * 1024
_CANONICAL = "sha256"


class Upload:
    """See the module. One piece is appended at a time; after a failure nothing more is.

    Attributes:
        path: the file, aside; it is made by the first piece.
        size: bytes that have come and are in it.
    """

    def __init__(self, room: Room, path: Path) -> None:
        self.path = path
        self.size = 0
        self._room = room
        self._hasher = hashlib.new(_CANONICAL)
        os.close(create(path))

    async def append(self, chunks: list[bytes], size: int) -> None:
        """Write `size` bytes behind those that are there.

        Raises:
            NoSpace: no room can be made for them.
            OSError: the disk does not take them.
        """
        await self._room.reserve(size, f"what is being pushed ({size_of(self.size + size)} so far)")
        self._room.arrive(size)
        before, self.size = self.size, self.size + size
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            await hash_and_write(descriptor, before, chunks, self._hasher)
        finally:
            os.close(descriptor)

    async def digest(self, algorithm: str) -> Digest:
        """Return the digest of what has come, by an algorithm."""
        if algorithm == _CANONICAL:
            return Digest(f"{algorithm}:{self._hasher.hexdigest()}")
        return await asyncio.to_thread(_digest, self.path, algorithm)

    def drop(self) -> None:
        """Give the room back, and remove the file if it is still aside."""
        self._room.release(self.size, self.size)
        self.size = 0
        self.path.unlink(missing_ok=True)


def _digest(path: Path, algorithm: str) -> Digest:
    hasher = hashlib.new(algorithm)
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return Digest(f"{algorithm}:{hasher.hexdigest()}")
