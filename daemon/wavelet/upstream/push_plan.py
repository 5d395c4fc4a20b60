"""How a blob is cut for its upload: whole while that goes well, else in chunks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

WHOLE_LIMIT = 512 * 1024 * 1024
"""Bytes up to which a blob is first sent with one request; every registry takes that, and it is the fastest."""

CHUNK_SIZE = 64 * 1024 * 1024
"""Bytes of a chunk: what is lost at most by a registry that keeps nothing of a request that broke off."""

LEAST_CHUNK_SIZE = 5 * 1024 * 1024
"""Bytes of the smallest chunk that is tried where larger ones are refused (413)."""

_SHRINKS_BY = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """How a blob of `size` bytes is sent.

    Attributes:
        chunk: bytes of each request, None for all of them with one.
        least: bytes that a chunk must have, as the registry says (`OCI-Chunk-Min-Length`).
        whole_only: whether the registry has refused a chunk for being one.
    """

    size: int
    chunk: int | None = None
    least: int = 0
    whole_only: bool = False

    @classmethod
    def of(cls, size: int, least: int = 0) -> Self:
        """Return how a blob is first sent."""
        cut = cls(size, None, least)
        return cut if size <= WHOLE_LIMIT else cut.chunked()

    def chunked(self) -> Self:
        """Return how it is sent once something has broken off."""
        return (
            self if self.whole_only else replace(self, chunk=max(min(self.chunk or CHUNK_SIZE, CHUNK_SIZE), self.least))
        )

    def smaller(self) -> Self | None:
        """Return how it is sent once a request was too large; None where nothing is left to try."""
        now = min(self.size, self.size if self.chunk is None else self.chunk)
        smaller = max(min(CHUNK_SIZE, now // _SHRINKS_BY), LEAST_CHUNK_SIZE, self.least)
        return None if self.whole_only or smaller >= now else replace(self, chunk=smaller)

    def whole(self) -> Self | None:
        """Return how it is sent to a registry that takes no chunks; None where that was tried."""
        return None if self.whole_only else replace(self, chunk=None, whole_only=True)

    def with_least(self, least: int) -> Self:
        """Return the same for a registry whose chunks have a least length."""
        cut = replace(self, least=least)
        return cut if cut.chunk is None else replace(cut, chunk=max(cut.chunk, least))

    def end(self, offset: int) -> int:
        """Return where the request that begins at `offset` ends, exclusive."""
        return self.size if self.chunk is None else min(offset + self.chunk, self.size)
