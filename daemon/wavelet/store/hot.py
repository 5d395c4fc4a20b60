"""Small documents in memory: manifests are asked for far more often than they change."""

from __future__ import annotations

from cachetools import LRUCache

from wavelet.image.digest import Digest

HOT_BYTES = 16 * 1024 * 1024
HOT_DOCUMENT = 256 * 1024
"""Larger documents are read from disk each time."""


class HotBytes:
    """The documents used last, of `HOT_BYTES` in all, by digest and origin."""

    def __init__(self) -> None:
        self._documents: LRUCache[tuple[Digest, str], bytes] = LRUCache(HOT_BYTES, getsizeof=len)

    def get(self, digest: Digest, origin: str) -> bytes | None:
        """Return a document if it is in memory."""
        return self._documents.get((digest, origin))

    def put(self, digest: Digest, origin: str, data: bytes) -> None:
        """Keep a document; the ones used longest ago make room."""
        if len(data) <= HOT_DOCUMENT:
            self._documents[digest, origin] = data
