"""Constants of tar's headers, and their checksum: what its reader and its writer both have to know. Pure."""

from __future__ import annotations

import zlib
from typing import Final

RECORD = 512
"""Bytes of a header, and what contents are filled up to."""
END = bytes(2 * RECORD)
"""What ends an archive."""

FILE: Final = b"0"
HARD_LINK: Final = b"1"
SYMLINK: Final = b"2"
DIRECTORY: Final = b"5"
PAX: Final = b"x"
"""Types of entries (POSIX.1-2001, pax, "ustar Interchange Format")."""


def byte_sum(data: bytes) -> int:
    """Return the sum of all bytes, modulo 65521: exactly, for ASCII of a header's length. Far faster than `sum`."""
    return (zlib.adler32(data) - 1) % 65536 % 65521


def padding(size: int) -> bytes:
    """Return what follows contents of `size` bytes."""
    return bytes(-size % RECORD)
