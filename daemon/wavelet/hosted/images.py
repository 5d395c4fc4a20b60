"""What hosted repositories have, for those who read: manifests by tag and digest, blobs, tags, referrers.

A name means the reader's own repository first, and then everybody's; see `wavelet.hosted.model.readers_view`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from cachetools import TTLCache

from wavelet.errors import BlobNotFound, ImageNotFound
from wavelet.hosted.model import HostedBlob, HostedManifest, HostedRepository
from wavelet.hosted.notes import PushNotes
from wavelet.hosted.tables import Tables
from wavelet.image.image import Content
from wavelet.image.reference import Digest
from wavelet.store.content import Blob, ContentStore

USE_GRAIN = 86400.0
"""Seconds within which a further use of a manifest is not noted."""

USES_HELD = 4096

View = Sequence[HostedRepository]


class HostedImages:
    """Reads. All methods are called in the loop's thread."""

    def __init__(self, tables: Tables, store: ContentStore, notes: PushNotes) -> None:
        self._tables = tables
        self._store = store
        self._notes = notes
        self._used: TTLCache[tuple[HostedRepository, Digest], None] = TTLCache(USES_HELD, USE_GRAIN)

    def find(self, view: View, reference: str | Digest) -> HostedManifest | None:
        """Return what a tag or a digest names, if it is there."""
        for repository in view:
            digest = reference if isinstance(reference, Digest) else self._tables.tagged(repository, reference)
            found = None if digest is None else self._tables.manifest(repository, digest)
            if found is not None and self._is_here(repository, found.descriptor.digest):
                return found
        return None

    async def get(self, view: View, reference: str | Digest) -> HostedManifest:
        """Return what a tag or a digest names.

        Raises:
            ImageNotFound: nothing; where another node has it, the message says so.
        """
        found = self.find(view, reference)
        if found is None:
            raise await self._notes.missing(view, reference)
        if isinstance(reference, Digest):
            self._use(found)
        return found

    def _use(self, found: HostedManifest) -> None:
        """Note that a manifest is asked for by its digest: without a tag it is kept for that."""
        key = found.repository, found.descriptor.digest
        if key not in self._used:
            self._used[key] = None
            self._tables.use(*key, time.time(), USE_GRAIN)

    async def document(self, manifest: Content) -> bytes:
        """Return a manifest's bytes.

        Raises:
            ImageNotFound: they were damaged on disk.
        """
        data = await self._store.read(manifest.descriptor.digest, manifest.source.origin)
        if data is None:
            raise ImageNotFound(f"{manifest.descriptor.digest} was damaged on disk; push it again")
        return data

    def blob(self, view: View, digest: Digest) -> HostedBlob | None:
        """Return a blob, if one of the repositories has it; a manifest is none, as in other registries."""
        for repository in view:
            size = self._tables.blob_size(repository, digest)
            if size is not None and self._is_here(repository, digest):
                return HostedBlob(repository, digest, size)
        return None

    async def open(self, content: Content) -> Blob:
        """Return a blob that `blob` has found.

        Raises:
            BlobNotFound: it was damaged on disk.
        """
        digest = content.descriptor.digest
        blob = await self._store.open(digest, content.source.origin)
        if blob is None:
            raise BlobNotFound(f"{digest} was damaged on disk; push it again")
        return blob

    def page_of_tags(self, view: View, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """Return up to `n` tags of a name after `last`, in their order, and whether there are more."""
        tags = sorted({tag for repository in view for tag in self._tables.tags(repository)})
        rest = [tag for tag in tags if last is None or tag > last]
        return (rest, False) if n is None else (rest[:n], len(rest) > n)

    def referrers(self, view: View, subject: Digest) -> list[dict[str, object]]:
        """Return descriptors of what refers to a manifest."""
        found = [each for repository in view for each in self._tables.referrers(repository, subject)]
        return list({each["digest"]: each for each in found}.values())

    def holders(self, view: Iterable[HostedRepository], digest: Digest) -> list[HostedRepository]:
        """Return all repositories, of the owners of a view, that have a blob."""
        return [each for repository in view for each in self._tables.holders(repository.owner, digest)]

    def _is_here(self, repository: HostedRepository, digest: Digest) -> bool:
        # What was damaged is taken out of the store; to say that it is not there lets a client push it again.
        return self._store.find(digest, repository.source.origin) is not None
