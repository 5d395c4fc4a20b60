"""Gzip members are what any reader of gzip takes, whichever codec has made them."""

from __future__ import annotations

import zlib

import pytest

from wavelet.archive import gzip_members
from wavelet.archive.gzip_members import BLOCK


@pytest.mark.parametrize("codec", [gzip_members.ISAL, gzip_members.ZLIB])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_members_are_gzip(codec: gzip_members.Codec, size: int) -> None:
    data = (b"%d," * size % tuple(range(size)))[:size]
    made = gzip_members.member(data, codec)
    inflate = zlib.decompressobj(31)
    assert inflate.decompress(made) == data
    assert inflate.eof
    assert inflate.unused_data == b""
    assert made[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
