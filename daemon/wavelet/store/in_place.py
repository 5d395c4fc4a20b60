"""Content that has to be in its place before something goes on with its file."""

from __future__ import annotations

from wavelet.errors import NoSpace
from wavelet.store.content import Blob, Committed, ContentStore
from wavelet.store.partial_blob import PartialBlob


async def in_place(store: ContentStore, blob: Blob | None, origin: str, what: str) -> Committed:
    """Return a blob once it is in its place: at once, or after the fetch that runs.

    Args:
        store: has the blob.
        blob: what the store, or a fetch into it, has given; None if there is nothing.
        origin: of the blob, as the store knows it.
        what: the blob, in the words of the error.

    Raises:
        WaveletError: the fetch has failed.
        NoSpace: it is not there any more.
    """
    if isinstance(blob, PartialBlob):
        await blob.wait_committed()
        # Nothing is awaited between this look and the return: a caller who goes on at once finds what was looked at.
        blob = store.find(blob.digest, origin)
    if not isinstance(blob, Committed):
        raise evicted(what)
    return blob


def evicted(what: str) -> NoSpace:
    """Return the error of content that had to give way while it was wanted."""
    return NoSpace(f"{what} was evicted before it could be used; the store is too small for what is asked of it")
