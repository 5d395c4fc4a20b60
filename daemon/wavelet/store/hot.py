"""Small documents kept in memory: manifests are asked for far more often than they change."""

from __future__ import annotations

from collections import OrderedDict

from wavelet.image.digest import Digest

HOT_BYTES = 16 * 1024 * 1024
HOT_DOCUMENT = 256 * 1024
"""Larger documents are read from disk each time."""


class HotBytes:
    """The documents used last, of `HOT_BYTES` in all, by digest and origin."""

    def __init__(self) -> None:
        self._documents: OrderedDict[tuple[Digest, str], bytes] = OrderedDict()
        self._size = 0

    def get(self, digest: Digest, origin: str) -> bytes | None:
        """Return a document if it is in memory."""
        data = self._documents.get((digest, origin))
        if data is not None:
            self._documents.move_to_end((digest, origin))
        return data

    def put(self, digest: Digest, origin: str, data: bytes) -> None:
        """Keep a document; the ones used longest ago make room."""
        if len(data) > HOT_DOCUMENT or (digest, origin) in self._documents:
            return
        self._documents[digest, origin] = data
        self._size += len(data)
        while self._size > HOT_BYTES:
            _, dropped = self._documents.popitem(last=False)
            self._size -= len(dropped)
