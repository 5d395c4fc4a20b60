"""Blobs in memory that are pushed, and where they were opened."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from wavelet.image.image import OCI_LAYER, Descriptor
from wavelet.image.reference import Digest
from wavelet.upstream.file_ranges import FileRange, Piece
from wavelet.upstream.pusher import PushSource

PIECE = 1024 * 1024


@dataclass
class Pushed:
    """A blob. `sent` is what was told of it as it was sent.

    Attributes:
        opened: the offsets at which it was opened.
        open_now: how many readers there are.
        in_file: whether pieces are parts of a file.
        on_piece: called with the offset of each piece before it is given.
    """

    in_file: ClassVar[bool] = False

    data: bytes
    piece: int = PIECE
    sent: int = 0
    opened: list[int] = field(default_factory=list)
    open_now: int = 0
    on_piece: Callable[[int], None] = lambda _: None

    @property
    def digest(self) -> Digest:
        """Its digest."""
        return Digest.of(self.data)

    @property
    def source(self) -> PushSource:
        """What is handed to a pusher."""
        return PushSource(Descriptor(OCI_LAYER, self.digest, len(self.data)), self._open)

    def on_bytes(self, count: int) -> None:
        """Count what is sent."""
        self.sent += count

    @asynccontextmanager
    async def _open(self, offset: int) -> AsyncIterator[AsyncIterator[Piece]]:
        self.opened.append(offset)
        self.open_now += 1
        try:
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(self.data)
                yield self._pieces(offset, file.fileno())
        finally:
            self.open_now -= 1

    async def _pieces(self, offset: int, fd: int) -> AsyncIterator[Piece]:
        for start in range(offset, len(self.data), self.piece):
            self.on_piece(start)
            piece = self.data[start : start + self.piece]
            yield FileRange(fd, start, len(piece)) if self.in_file else piece
