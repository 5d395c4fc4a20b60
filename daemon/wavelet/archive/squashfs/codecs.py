"""The codecs of squashfs images: with a block, all that its compressed bytes depend on.

libdeflate and zstd give the same bytes on every CPU; ISA-L, which is faster, does not (`archive/gzip_members.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import deflate
import zstandard

CodecName = Literal["gzip", "zstd"]

BLOCK = 128 * 1024
"""Bytes of a block of data, before it is compressed."""


@dataclass(frozen=True, slots=True)
class Codec:
    """A compressor, its implementation and level.

    Attributes:
        name: as squashfs calls it.
        implementation: counted up when a version of the library gives other bytes.
    """

    name: CodecName
    implementation: str
    level: int

    @property
    def number(self) -> int:
        """Its id in the superblock."""
        return {"gzip": 1, "zstd": 6}[self.name]

    def compressor(self) -> Callable[[bytes | memoryview], bytes]:
        """Return what compresses one block or piece of metadata, for one thread."""
        if self.name == "zstd":
            return zstandard.ZstdCompressor(level=self.level, write_content_size=True).compress
        return functools.partial(_zlib, level=self.level)


def _zlib(data: bytes | memoryview, level: int) -> bytes:
    return bytes(deflate.zlib_compress(data, level))


GZIP = Codec("gzip", "libdeflate-1", 1)
ZSTD = Codec("zstd", "zstd-1", 3)
CODECS: dict[str, Codec] = {"gzip": GZIP, "zstd": ZSTD}
