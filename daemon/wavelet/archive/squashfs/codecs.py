"""The codecs of squashfs images: with a block, all that its compressed bytes depend on.

libdeflate and zstd give the same bytes on every CPU; ISA-L, which is faster, does not (`archive/gzip_members.py`). That
the libraries of this machine give what those of others do is proven at first use, against a golden digest each.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import deflate
import structlog
import zstandard

from wavelet.archive import gzip_members

log = structlog.get_logger()

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

_GOLDEN = {
    "gzip": "b0b6a36d5a1255c486eeefde1f7921a83b482dce736a7046e06d439e7a0bf831",
    "zstd": "f006919edf7f9d3d288fc92d2b2f8fc55bb760dcf3e8eda97fd6e5ebcac07e12",
}
"""Of each of `CODECS`: the digest of what it makes of a sample."""


@functools.cache
def installed(name: CodecName) -> Codec:
    """Return a codec as this machine has it, tried at the first call in a process.

    One that gives other bytes than those of other machines has another implementation: a name of its bytes.
    """
    codec = CODECS[name]
    found = sample_digest(codec)
    if found == _GOLDEN[name]:
        return codec
    library = codec.implementation.partition("-")[0]
    log.warning(
        "sif.other_codec",
        codec=name,
        reason=f"{library} gives other bytes on this machine than on others: SIF files made here are other files",
    )
    return replace(codec, implementation=f"{library}-{found[:12]}")


def sample_digest(codec: Codec) -> str:
    """Return the SHA-256 of the blocks that a codec makes of a sample, in hexadecimal."""
    compress, data, digest = codec.compressor(), memoryview(gzip_members.sample()), hashlib.sha256()
    for start in range(0, len(data), BLOCK):
        digest.update(compress(data[start : start + BLOCK]))
    return digest.hexdigest()
