"""The files that a SIF has of its own, as one more layer and segment, which is held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from wavelet.archive.squashfs.codecs import BLOCK, Codec
from wavelet.kinds.sif.segments.index import STORED, Data, Entry, Header


class OwnLayer(NamedTuple):
    """A segment with its index."""

    data: bytes
    header: Header
    entries: tuple[Entry, ...]


def own_layer(files: Mapping[bytes, tuple[int, bytes]], codec: Codec) -> OwnLayer:
    """Return the layer of these files (paths, with permissions and content), and of the directories they are in.

    All are root's, and of the time 0.
    """
    packer = _Packer(codec)
    directories = {path[:end] for path in files for end, byte in enumerate(path) if byte == ord("/")}
    entries = [Entry(path, "directory", 0o755) for path in directories]
    entries += [Entry(path, "file", files[path][0], data=packer.add(files[path][1])) for path in sorted(files)]
    entries.append(Entry(b"", "directory", implied=True))
    entries.sort(key=lambda entry: entry.order)
    packer.end_fragment()
    header = Header(len(packer.data), tuple(packer.fragments), len(entries))
    return OwnLayer(bytes(packer.data), header, tuple(entries))


class _Packer:
    """Blocks of data and of fragments, one after the other."""

    def __init__(self, codec: Codec) -> None:
        self.data = bytearray()
        self.fragments: list[tuple[int, int]] = []
        self._compress = codec.compressor()
        self._tails = bytearray()

    def add(self, content: bytes) -> Data:
        """Add a file."""
        whole = len(content) - len(content) % BLOCK
        start = len(self.data) if whole else 0
        blocks = tuple(self._block(piece) for piece in _pieces(content[:whole]))
        tail = content[whole:]
        if not tail:
            return Data(len(content), start, blocks)
        if len(self._tails) + len(tail) > BLOCK:
            self.end_fragment()
        offset = len(self._tails)
        self._tails += tail
        return Data(len(content), start, blocks, len(self.fragments), offset)

    def end_fragment(self) -> None:
        """Write the block that tails of files are collected in."""
        if self._tails:
            start = len(self.data)
            self.fragments.append((start, self._block(bytes(self._tails))))
            self._tails.clear()

    def _block(self, piece: bytes) -> int:
        """Write a block, and return its size word."""
        packed = self._compress(piece)
        if len(packed) >= len(piece):
            self.data += piece
            return len(piece) | STORED
        self.data += packed
        return len(packed)


def _pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), BLOCK):
        yield content[at : at + BLOCK]
