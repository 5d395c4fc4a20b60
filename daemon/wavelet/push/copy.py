"""The copying of an image to a registry: what is missing there, several blobs at a time, and its name last.

A registry has an image under its name once all else is there: blobs first, then each document after those that it
names, then what refers to them, and at the end the image's own document under its tag. So a copy that is broken off at
any point leaves no half of an image under the name, and the next one sends what is still missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wavelet.concurrency import gather_all
from wavelet.errors import UpstreamBroken
from wavelet.image.image import Descriptor
from wavelet.image.reference import Digest, Repository
from wavelet.push.progress import OnProgress, Tally, unwatched
from wavelet.push.survey import Documents, Survey, Surveyed, survey
from wavelet.push.target import Target
from wavelet.upstream.pusher import PushSource

DOCUMENTS_AT_ONCE = 8
"""Documents of one image that are put at one time."""


class Source(Documents, Protocol):
    """Where an image is copied from."""

    @property
    def digest(self) -> Digest:
        """The digest of the image's own document."""

    @property
    def at_once(self) -> int:
        """How many of its blobs are sent at one time."""

    async def root(self) -> Descriptor:
        """Return the descriptor of that.

        Raises:
            AccessRefused, NotFound: whoever asks may not read the image, or there is none.
            UpstreamError: its registry does not say.
        """

    def blob(self, descriptor: Descriptor) -> PushSource:
        """Return a blob, to be opened when it is needed."""

    def mounts(self, descriptor: Descriptor) -> Sequence[Repository]:
        """Return repositories of the target's registry that may have a blob already."""

    async def was_damaged(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob that the target disputes was damaged here; then its bytes come from elsewhere now."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a copy has sent, or would send: nothing, where the image was there already.

    Attributes:
        digest: of the image, which is the same at the target.
        blobs: how many were sent; `bytes`: how many bytes they have.
        manifests: how many documents were put.
    """

    digest: Digest
    blobs: int = 0
    bytes: int = 0
    manifests: int = 0


async def copy(source: Source, target: Target, on_progress: OnProgress = unwatched) -> CopyResult:
    """Copy an image, with all that refers to it; where the target has it, the source is not asked.

    Raises:
        InvalidRequest: the target names another digest.
        WaveletError: it cannot be had from its source, or the target does not take it.
    """
    if await target.answers(source.digest):
        return CopyResult(source.digest)
    found = await survey(await source.root(), source, target)
    copying = _Copying(found, source, target, Tally(on_progress))
    await copying.send_blobs()
    await copying.put_documents()
    return CopyResult(source.digest, copying.blobs, copying.bytes, len(copying.put))


async def plan(source: Source, target: Target) -> CopyResult:
    """Return what `copy` would send, as far as is known: a blob may be had from another repository of the registry.

    Raises:
        WaveletError: as `copy`.
    """
    if await target.answers(source.digest):
        return CopyResult(source.digest)
    found = await survey(await source.root(), source, target)
    slots = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

    async def lacks(blob: Descriptor) -> bool:
        async with slots:
            return not await target.has_blob(blob)

    blobs = found.missing_blobs()
    lacking = await gather_all(map(lacks, blobs))
    sent = [blob for blob, is_lacking in zip(blobs, lacking, strict=True) if is_lacking]
    documents = [each for each in found.documents.values() if not each.is_there or each.descriptor == found.root]
    return CopyResult(source.digest, len(sent), sum(blob.size for blob in sent), len(documents))


@dataclass
class _Copying:
    """One copy. `put` are the documents that were put; `blobs` and `bytes` were sent."""

    found: Survey
    source: Source
    target: Target
    tally: Tally
    put: set[Digest] = field(default_factory=set)
    blobs: int = 0
    bytes: int = 0

    async def send_blobs(self) -> None:
        missing = self.found.missing_blobs()
        self.tally.needs(missing)
        slots = asyncio.Semaphore(self.source.at_once)

        async def send(blob: Descriptor) -> None:
            async with slots:
                await self._send(blob)

        await gather_all(map(send, missing))

    async def _send(self, blob: Descriptor) -> None:
        try:
            was_sent = await self._put_blob(blob)
        except UpstreamBroken:
            if not await self.source.was_damaged(blob):
                raise
            was_sent = await self._put_blob(blob)
        self.tally.done(blob, was_sent=was_sent)
        if was_sent:
            self.blobs += 1
            self.bytes += blob.size

    async def _put_blob(self, blob: Descriptor) -> bool:
        return await self.target.put_blob(
            self.source.blob(blob), self.source.mounts(blob), lambda count: self.tally.sent(blob, count)
        )

    async def put_documents(self) -> None:
        root = self.found.root
        *below, _ = self.found.levels(root)
        for level in below:
            await self._put_level(level)
        # One after the other: a registry without the API of referrers has a list of them, which each one changes.
        for referrer in self.found.referring:
            for level in self.found.levels(referrer):
                for document in level:
                    await self._put(document, [])
        await self._put(self.found.documents[root.digest], [self.target.name_of(root.digest)])

    async def _put_level(self, level: Sequence[Surveyed]) -> None:
        slots = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

        async def put(document: Surveyed) -> None:
            async with slots:
                if not document.is_there or self._tags_of(document):
                    await self._put(document, [])

        await gather_all(map(put, level))

    async def _put(self, document: Surveyed, names: Sequence[str]) -> None:
        """Put a document under names, and under those that cosign has given it; without any, under its digest."""
        digest = document.descriptor.digest
        if digest in self.put:
            return
        self.put.add(digest)
        data = await self.source.document(document.descriptor)
        for name in [*self._tags_of(document), *names] or [digest]:
            await self.target.put_document(name, document.descriptor, data)

    def _tags_of(self, document: Surveyed) -> list[str]:
        return [tag for tag, each in self.found.tags.items() if each.digest == document.descriptor.digest]
