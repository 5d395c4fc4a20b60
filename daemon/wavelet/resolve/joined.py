"""Content whose bytes are those of other content, one after the other, as it is read: whole, or a range of it.

Its parts are opened one by one while it is read. So one that was evicted meanwhile is made again, and whoever reads
does not notice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wavelet.image.image import Content
from wavelet.image.reference import Digest
from wavelet.store.content import Blob


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a part, `start` to `end`, and what opens it."""

    content: Content
    start: int
    end: int
    open: Callable[[], Awaitable[Blob]]


@dataclass(frozen=True, slots=True)
class JoinedBlob:
    """See the module.

    Attributes:
        digest, size: of the whole, in bytes.
        parts: whose bytes they are.
        open: opens a part, in the store or on its way there.
    """

    digest: Digest
    size: int
    parts: tuple[Content, ...]
    open: Callable[[Content], Awaitable[Blob]]

    def between(self, start: int, end: int) -> list[Part]:
        """Return the parts that have bytes of a range, in their order; each with what of it is in the range."""
        found, at = [], 0
        for content in self.parts:
            size = content.descriptor.size
            first, last = max(start - at, 0), min(end - at, size)
            if first < last:
                found.append(Part(content, first, last, self._opener(content)))
            at += size
        return found

    def _opener(self, content: Content) -> Callable[[], Awaitable[Blob]]:
        return lambda: self.open(content)
