"""Claims: results that nodes would make differently, and have to agree on. Whoever makes one first has made it for all.

A claim is small, and proves itself as a record does: its first line is an HMAC, under the cluster's key, over what it
is for and what it says. It often speaks of blobs, by their digests. Where nodes have a place in common these can lie
there; where they have none, the node that has made a blob has its only copy.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import structlog

from wavelet.image.reference import Digest

log = structlog.get_logger()

UNUSED_LIFETIME = 2 * 365 * 86400.0
"""Seconds after which a claim is forgotten that nobody has read: a pipeline that ran last year runs the same today."""

USE_GRAIN = 86400.0
"""Seconds within which a further use is not noted."""

BLOB_LIMIT = 64 * 1024**3
"""Bytes of a blob of which nothing says how many it has."""


class Claims(Protocol):
    """A keeper of claims. All methods are safe to call at once, from several nodes where the place is shared.

    What is made once and not again the same is used so: who needs it asks `claimed`, and takes what that says of;
    where nothing is claimed it is made, its blobs are shared, and then it is claimed. Who was not the first drops what
    it has made, and takes what the first one's claim says of.
    """

    @property
    def shares(self) -> bool:
        """Whether blobs that were shared can be fetched: by other nodes, and by this one when it has lost its own.

        If not, `share` keeps nothing and `fetch` finds nothing, and the copy in this node's store is the last one.
        """

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """Keep `data` under `key` unless something stands there already; return what stands, durably.

        With `replace` it takes the place of what stands.

        Raises:
            WaveletError: the place cannot be read or written.
        """

    async def claimed(self, key: str) -> bytes | None:
        """Return what stands under `key`; None if nothing does, or nothing authentic (then logged).

        Raises:
            WaveletError: the place cannot be read.
        """

    async def renew(self, key: str, digests: Collection[Digest]) -> None:
        """Count a claim and shared blobs that it speaks of as used, where they are there.

        Raises:
            WaveletError: the place cannot be read or written.
        """

    async def share(self, file: Path, digest: Digest) -> None:
        """Put a blob where all nodes have it, if there is such a place: the bytes of `file`, which have this digest.

        Raises:
            WaveletError: the place cannot be written.
        """

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """Write a blob that was shared, of at most `limit` bytes, into `file` and return its size.

        None if there is none, or a damaged one.

        Raises:
            WaveletError: the place cannot be read.
        """


def name_of(key: str) -> str:
    """Return under which name a claim is kept, whatever characters its key has."""
    return hashlib.sha256(key.encode()).hexdigest()


def seal(secret: bytes, key: str, data: bytes) -> bytes:
    """Return the bytes of a claim; `secret` is the cluster's key."""
    return _proof(secret, key, data) + b"\n" + data


def unseal(secret: bytes, key: str, content: bytes, where: str) -> bytes | None:
    """Return what a claim says; None if it is not authentic, or another's (logged with `where` it was found)."""
    proof, _, data = content.partition(b"\n")
    if hmac.compare_digest(proof, _proof(secret, key, data)):
        return data
    log.warning("a claim is not authentic", claim=key[:200], where=where)
    return None


def _proof(secret: bytes, key: str, data: bytes) -> bytes:
    message = b"claim\0" + key.encode() + b"\0" + data
    return hmac.new(secret, message, hashlib.sha256).hexdigest().encode()
