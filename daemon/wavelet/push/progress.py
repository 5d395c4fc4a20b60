"""The progress of a copy: how much is known to be needed at the target, and how much of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is.

    Attributes:
        blobs: how many the image has, as far as is known.
        blobs_done: how many of them are at the target.
        bytes_needed: what has to be sent, as far as is known; it falls where a blob turns out to be there.
        bytes_done: what was sent of that.
    """

    blobs: int = 0
    blobs_done: int = 0
    bytes_needed: int = 0
    bytes_done: int = 0


OnProgress = Callable[[CopyProgress], None]
"""Is told of each step; it is called in the loop's thread, for each piece of a blob, and has to be quick."""


def unwatched(_: CopyProgress) -> None:
    """Tell nobody."""


class Tally:
    """Counts what becomes of blobs, and tells `on_progress`."""

    def __init__(self, on_progress: OnProgress = unwatched) -> None:
        self._on_progress = on_progress
        self._sizes: dict[Digest, int] = {}
        self._sent: dict[Digest, int] = {}
        self._done = 0
        self._needed = 0
        self._sent_bytes = 0

    @property
    def progress(self) -> CopyProgress:
        """How far it is now."""
        return CopyProgress(len(self._sizes), self._done, self._needed, self._sent_bytes)

    def needs(self, blobs: Iterable[Descriptor]) -> None:
        """Count blobs that are not known to be there."""
        for blob in blobs:
            self._sizes[blob.digest] = blob.size
            self._needed += blob.size
        self._on_progress(self.progress)

    def sent(self, blob: Descriptor, count: int) -> None:
        """Count bytes of a blob that were sent. What is sent once more, after a break, counts once."""
        before = self._sent.get(blob.digest, 0)
        self._sent[blob.digest] = now = min(before + count, blob.size)
        self._sent_bytes += now - before
        self._on_progress(self.progress)

    def done(self, blob: Descriptor, *, was_sent: bool) -> None:
        """Take note that a blob is at the target; if it was not sent, it is not counted as needed any more."""
        before = self._sent.pop(blob.digest, 0)
        self._done += 1
        if was_sent:
            self._sent_bytes += blob.size - before
        else:
            self._sent_bytes -= before
            self._needed -= blob.size
        self._on_progress(self.progress)
