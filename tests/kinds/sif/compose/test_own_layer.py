"""The files that a SIF has of its own, as a segment in memory."""

from __future__ import annotations

import random
import zlib

from wavelet.archive.squashfs.codecs import BLOCK, GZIP
from wavelet.kinds.sif.compose.own_layer import OwnLayer, own_layer
from wavelet.kinds.sif.segments.index import STORED, Data

NOISE = random.Random(14)


def test_every_byte_is_in_a_block_or_a_fragment() -> None:
    files = {
        b"a/large": (0o644, NOISE.randbytes(BLOCK) + b"text" * BLOCK + b"rest"),
        b"a/b/first": (0o755, NOISE.randbytes(BLOCK - 100)),
        b"a/b/second": (0o600, b"x" * 200),
        b"empty": (0o644, b""),
        b"whole": (0o644, b"y" * BLOCK),
    }
    layer = own_layer(files, GZIP)
    assert [entry.path for entry in layer.entries] == [
        b"", b"a", b"a/b", b"a/b/first", b"a/b/second", b"a/large", b"empty", b"whole",
    ]  # fmt: skip
    assert layer.header.size == len(layer.data)
    for entry in layer.entries:
        if entry.data is not None:
            assert (entry.mode, read(layer, entry.data)) == files[entry.path]


def read(layer: OwnLayer, data: Data) -> bytes:
    content, at = b"", data.start
    for word in data.blocks:
        content += _block(layer.data, at, word)
        at += word & ~STORED
    if data.fragment >= 0:
        fragment = _block(layer.data, *layer.header.fragments[data.fragment])
        content += fragment[data.offset : data.offset + data.size - len(content)]
    return content


def _block(data: bytes, at: int, word: int) -> bytes:
    piece = data[at : at + (word & ~STORED)]
    content = piece if word & STORED else zlib.decompress(piece)
    assert len(content) <= BLOCK
    assert word & ~STORED <= BLOCK
    return content
