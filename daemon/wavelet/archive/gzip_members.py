"""Gzip members whose bytes are the same on every node: fixed input blocks, a fixed header, one level.

ISA-L's output depends on how its input is cut, on the CPU at level 3, and on the architecture (aarch64, x86 without
SSE4.2). So it is fed in blocks of one size, at level 2, and proven at first use against a golden digest; where that
does not hold, zlib takes over, which is slow and gives other blobs of the same tars.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec
import structlog
from isal import isal_zlib

BLOCK = 64 * 1024
"""Bytes of input that a compressor is given at a time; only a member's last block is shorter."""

BROKEN_GZIP = cast(type[Exception], isal_zlib.error)  # the library's stub says that it is an instance
"""What ISA-L raises on data that is not deflate's; a stream that ends early is something else."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952, 2.3: deflate, no flags, no time, no hint, an unknown operating system."""
_RAW = -15
"""Window bits for a deflate stream without any container."""
_GOLDEN = "77d5e3cd68e0b07dd092398b2629e002391ff84dfc9428d0a834b8a61d3e85c4"

log = structlog.get_logger()


class Fragment(msgspec.Struct, frozen=True, array_like=True):
    """The part of a blob that holds the entries of files: one gzip member, without directories and end of archive.

    `offset` and `length` are bytes of the blob, `inflated` bytes of tar. Fragments of several layers, one after the
    other, between a member with directories and one that ends the archive, are a layer again (RFC 1952, 2.2).
    """

    offset: int
    length: int
    inflated: int


class Deflate(Protocol):
    """What of a compressor is used."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take in a block."""

    def flush(self) -> bytes:
        """End the stream."""


@dataclass(frozen=True, slots=True)
class Codec:
    """An implementation of deflate and its level: with the input, all that a blob's bytes depend on."""

    name: str
    level: int

    def deflate(self) -> Deflate:
        """Return a new compressor."""
        make = isal_zlib.compressobj if self.name == "isal" else zlib.compressobj
        return make(self.level, zlib.DEFLATED, _RAW)


ISAL = Codec("isal", 2)
ZLIB = Codec("zlib", 1)


class MemberWriter:
    """One gzip member in the making (RFC 1952). What its methods return is its bytes, one after the other."""

    def __init__(self, codec: Codec) -> None:
        self._deflate = codec.deflate()
        self._crc = 0
        self._size = 0

    def begin(self) -> bytes:
        """Return the header."""
        return _HEADER

    def block(self, data: bytes | memoryview) -> bytes:
        """Take in `BLOCK` bytes, or fewer at the end of the member."""
        self._crc = isal_zlib.crc32(data, self._crc)
        self._size += len(data)
        return self._deflate.compress(data)

    def end(self) -> bytes:
        """Return the rest and the trailer."""
        return self._deflate.flush() + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


def member(data: bytes, using: Codec | None = None) -> bytes:
    """Return `data` as one gzip member."""
    made = MemberWriter(using or codec())
    view = memoryview(data)
    blocks = [made.block(view[start : start + BLOCK]) for start in range(0, len(view), BLOCK)]
    return b"".join((made.begin(), *blocks, made.end()))


@functools.cache
def codec() -> Codec:
    """Return the codec of this machine, tried at the first call in a process."""
    if hashlib.sha256(member(sample(), ISAL)).hexdigest() == _GOLDEN:
        return ISAL
    log.warning(
        "conda.slow_codec",
        reason="ISA-L gives other bytes on this machine than on others, so that layers are compressed by zlib",
    )
    return ZLIB


def sample() -> bytes:
    """Return what the self-test compresses: text, repetitions near and far, noise, and a short last block."""
    noise = b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(1024))
    text = b"".join(
        b"%x %s\n" % (number * 2654435761 % 2**32, noise[number : number + 7].hex().encode()) for number in range(6000)
    )
    return (text + noise + bytes(40_000) + text[::-1] + noise[:20_000] + text)[: 6 * BLOCK + 4321]
