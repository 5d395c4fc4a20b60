"""The contents of a layer's files, each stored once: equal ones are found by their digests."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import msgspec

from wavelet.archive.squashfs.codecs import BLOCK
from wavelet.kinds.sif.segments.blocks import ZEROS, BlockWriter
from wavelet.kinds.sif.segments.index import Data
from wavelet.kinds.sif.segments.written_files import HashedFile, Room

_ROW_ROOM = 128
"""Bytes that the tables take up for each of them, at most, besides its blocks."""
_BLOCK_ROOM = 8
"""Bytes for each block."""

_ROWS_AT_ONCE = 256

_HOLE, _BLOCK = b"\0", b"\1"
"""What goes into a large file's digest before each block; of a hole, that is all."""

_encode = msgspec.msgpack.Encoder().encode


class Contents:
    """Contents by their numbers, in `tables`; 0 is no bytes at all."""

    def __init__(self, tables: sqlite3.Connection, file: HashedFile, blocks: BlockWriter, room: Room) -> None:
        self._tables = tables
        self._file = file
        self._blocks = blocks
        self._room = room
        self._last = 0
        self._rows: list[tuple[int, bytes]] = []

    def add(self, size: int, chunks: Iterable[bytes]) -> int:
        """Take in a file of `size` bytes, which `chunks` come to; return its number."""
        if not size:
            return 0
        if size > BLOCK:
            return self._add_large(size, chunks)
        data = b"".join(chunks)
        number = self._number(hashlib.sha256(data).digest())
        if number > self._last:
            self._last = number
            file = _File(size)
            self._store(file, data)
            self._keep(number, file)
        return number

    def finish(self) -> None:
        """Write what is left: the last blocks, and where contents are."""
        self._blocks.finish()
        self._write_rows()

    def _write_rows(self) -> None:
        self._tables.executemany("INSERT INTO contents VALUES (?, ?)", self._rows)
        self._rows = []

    def _add_large(self, size: int, chunks: Iterable[bytes]) -> int:
        """Compress a file as it comes, and let go of its blocks if it turns out to be there already."""
        file = _File(size)
        marks = []
        self._blocks.afterwards(lambda: marks.append(self._file.mark()))
        digest = hashlib.sha256()
        rest = b""
        for block in _cut(chunks):
            # Holes are hashed by what they are: of files that have little else, they may be almost all.
            hole = block == ZEROS
            digest.update(_HOLE if hole else _BLOCK)
            if not hole:
                digest.update(block)
            if len(block) == BLOCK:
                self._store(file, block)
            else:
                rest = block
        number = self._number(digest.digest())
        if number > self._last:
            self._last = number
            if rest:
                self._store(file, rest)
            self._keep(number, file)
        else:
            self._blocks.settle()
            self._file.back(marks[0])
        return number

    def _number(self, digest: bytes) -> int:
        """Return the number of what has a digest: the next one, where there is no such yet."""
        new = self._tables.execute("INSERT OR IGNORE INTO digests VALUES (?, ?)", (digest, self._last + 1))
        if new.rowcount:
            return self._last + 1
        found: int = self._tables.execute("SELECT content FROM digests WHERE digest = ?", (digest,)).fetchone()[0]
        return found

    def _store(self, file: _File, data: bytes) -> None:
        if not data[0] and data == ZEROS[: len(data)]:
            file.words.append(0)
        elif len(data) < BLOCK:
            file.fragment, file.offset = self._blocks.pack(data)
        else:
            self._blocks.block(data, file.placed())

    def _keep(self, number: int, file: _File) -> None:
        def keep() -> None:
            data = Data(file.size, max(file.start, 0), tuple(file.words), file.fragment, file.offset)
            self._rows.append((number, _encode(data)))
            if len(self._rows) == _ROWS_AT_ONCE:
                self._write_rows()

        self._room.take(_ROW_ROOM + _BLOCK_ROOM * len(file.words))
        if file.start < 0 and not file.waits:
            keep()
        else:
            self._blocks.afterwards(keep)


class _File:
    """A file in the making: what `Data` says of it, as far as it is known."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.start = -1
        self.words: list[int] = []
        self.fragment = -1
        self.offset = 0
        self.waits = False

    def placed(self) -> Callable[[int, int], None]:
        """Return what hears where its next block is."""
        number = len(self.words)
        self.words.append(0)
        self.waits = True

        def taken(start: int, word: int) -> None:
            if self.start < 0:
                self.start = start
            self.words[number] = word

        return taken


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks; the last one may be shorter."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= BLOCK:
            yield bytes(held[:BLOCK])
            del held[:BLOCK]
    if held:
        yield bytes(held)
