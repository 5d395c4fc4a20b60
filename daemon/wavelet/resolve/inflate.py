"""The digests of compressed layers' tars, under a limit of bytes. Runs in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from isal import isal_zlib

from wavelet.archive.gzip_members import BROKEN_GZIP
from wavelet.errors import DigestMismatch, TooLarge
from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of

_BLOCK = 1024 * 1024
_GZIP = 31
"""Window bits that make zlib read gzip's header and trailer."""


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in blocks."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def diff_id_of(blocks: Iterable[bytes], limit: int) -> Digest:
    """Return the digest (SHA-256) of what a gzip inflates to; several members are one stream (RFC 1952, 2.2).

    Raises:
        DigestMismatch: not gzip, or cut short.
        TooLarge: more than `limit` bytes come out.
    """
    hasher, count = hashlib.sha256(), 0
    for data in _inflated(blocks):
        count += len(data)
        if count > limit:
            raise TooLarge(f"the layer inflates to more than {size_of(limit)}; upstream.inflated_limit sets the most")
        hasher.update(data)
    return Digest(f"sha256:{hasher.hexdigest()}")


def _inflated(blocks: Iterable[bytes]) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(_GZIP)
    begun = False
    try:
        for block in blocks:
            rest = block
            while rest:
                if member.eof:
                    if not rest.strip(b"\0"):  # padding after the last member
                        break
                    member = isal_zlib.decompressobj(_GZIP)
                begun = True
                yield member.decompress(rest, _BLOCK)
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except BROKEN_GZIP as error:
        raise DigestMismatch(f"the layer is not gzip: {error}") from None
    if not begun or not member.eof:
        raise DigestMismatch("the layer is not a whole gzip stream")
