"""The survey of an image: every document below its root and every referrer of those, and the blobs that they name.

An index may name indexes. What refers to a document (signatures, attestations, bills of materials, locks) is listed by
its registry, and by the tags that cosign gives it: `sha256-<hex>.sig`, `.att`, `.sbom`. Referrers have referrers too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from wavelet.concurrency import gather_all
from wavelet.errors import NotFound, UpstreamBroken
from wavelet.image.image import ACCEPTED_TYPES, Descriptor, Index, MalformedManifest, Manifest, parse_document
from wavelet.image.reference import Digest

log = structlog.get_logger()

DOCUMENTS_AT_ONCE = 8
"""Documents that are read and looked up at one time; each may have 4 MiB."""

DOCUMENTS_LIMIT = 10_000
"""Documents of one image, with its referrers; more are taken for a source that never ends."""

NAMED_LIMIT = 200_000
"""Blobs that the documents of one image name in all; each takes 300 bytes, and a document of 4 MiB names 30,000."""

DEPTH_LIMIT = 16
"""Steps from the root to a document: through indexes within indexes, and referrers of referrers."""

COSIGN_SUFFIXES = ("sig", "att", "sbom")
"""What cosign attaches to an image under a tag made of the image's digest."""


class Documents(Protocol):
    """What a survey asks the source of an image."""

    async def document(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index whole, verified.

        Raises:
            WaveletError: it cannot be had.
        """

    async def referrers(self, subject: Descriptor) -> Sequence[Descriptor]:
        """Return the manifests that refer to a document."""

    async def tagged(self, tag: str) -> Descriptor | None:
        """Return what a tag of the image's repository names, None where there is no such tag."""


class Known(Protocol):
    """What a survey asks the target."""

    async def has_document(self, digest: Digest) -> bool:
        """Tell whether the target has a document already, and with it what it names."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A document of an image.

    Attributes:
        children: the documents that it names, if it is an index.
        blobs: what else it names; without those that are to be had at URLs of their own.
        is_there: whether the target has it.
    """

    descriptor: Descriptor
    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    is_there: bool


@dataclass
class Survey:
    """What was found.

    Attributes:
        root: the image's own document.
        documents: all, by digest.
        referring: the roots of what refers to any of them, in the order in which they were found.
        tags: what cosign's tags name.
    """

    root: Descriptor
    documents: dict[Digest, Surveyed] = field(default_factory=dict)
    referring: list[Descriptor] = field(default_factory=list)
    tags: dict[str, Descriptor] = field(default_factory=dict)

    def missing_blobs(self) -> list[Descriptor]:
        """Return each blob once that the target may not have, the largest first, so that none is left for the end."""
        lacking = (document for document in self.documents.values() if not document.is_there)
        unique = {blob.digest: blob for document in lacking for blob in document.blobs}
        return sorted(unique.values(), key=lambda blob: (-blob.size, blob.digest))

    def levels(self, root: Descriptor) -> list[list[Surveyed]]:
        """Return the documents of `root`, itself included, in the order in which a registry takes them.

        Those of one level name none of each other, and only such as are in earlier ones.
        """
        heights: dict[Digest, int] = {}
        self._measure(root.digest, heights)
        levels: list[list[Surveyed]] = [[] for _ in range(max(heights.values()) + 1)]
        for digest, height in heights.items():
            levels[height].append(self.documents[digest])
        return levels

    def _measure(self, digest: Digest, heights: dict[Digest, int]) -> int:
        if digest not in heights:
            children = self.documents[digest].children
            heights[digest] = 1 + max((self._measure(each.digest, heights) for each in children), default=-1)
        return heights[digest]


async def survey(root: Descriptor, source: Documents, known: Known) -> Survey:
    """Read all documents of an image, from its root on; what is listed as referring to one, but is not there, is none.

    Raises:
        UpstreamBroken: a document is none, or there is no end to them.
        WaveletError: one cannot be had, or the target does not say what it has.
    """
    found, named, slots = Survey(root), _Named(root), asyncio.Semaphore(DOCUMENTS_AT_ONCE)
    looked_at, listed = {root.digest}, set[Digest]()
    wanted = [root]

    async def look_at(each: Descriptor) -> _Step | None:
        try:
            return await _looked_at(each, source, known, slots, named)
        except NotFound as error:
            # Lists under fall-back tags go on naming what was removed.
            if each.digest not in listed:
                raise
            log.warning("what is listed as referring to an image is not there", because=error.message)
            return None

    for _ in range(DEPTH_LIMIT):
        if not wanted:
            found.referring = [each for each in found.referring if each.digest in found.documents]
            return found
        steps = await gather_all(map(look_at, wanted))
        wanted = []
        for step in filter(None, steps):
            found.documents[step.document.descriptor.digest] = step.document
            found.tags.update(step.tags)
            attached = [*step.referrers, *step.tags.values()]
            found.referring += [each for each in attached if each.digest not in looked_at]
            listed.update(each.digest for each in step.referrers if each.digest not in looked_at)
            for each in step.document.children:
                if each.digest in listed:  # an index names it, so that it has to be there
                    listed.discard(each.digest)
                    looked_at.discard(each.digest)
            for each in (*step.document.children, *attached):
                if each.digest not in looked_at:
                    looked_at.add(each.digest)
                    wanted.append(each)
        if len(looked_at) > DOCUMENTS_LIMIT:
            raise UpstreamBroken(f"{root.digest} has more than {DOCUMENTS_LIMIT} manifests, with what refers to them")
    raise UpstreamBroken(f"{root.digest} has manifests more than {DEPTH_LIMIT} steps below it; that is no image")


@dataclass(slots=True)
class _Named:
    """How many blobs the documents below a root have named so far."""

    root: Descriptor
    count: int = 0

    def add(self, blobs: Sequence[Descriptor]) -> None:
        """Count some.

        Raises:
            UpstreamBroken: they are too many.
        """
        self.count += len(blobs)
        if self.count > NAMED_LIMIT:
            raise UpstreamBroken(f"{self.root.digest} has manifests that name more than {NAMED_LIMIT} blobs")


@dataclass(frozen=True, slots=True)
class _Step:
    document: Surveyed
    referrers: Sequence[Descriptor]
    tags: Mapping[str, Descriptor]


async def _looked_at(
    descriptor: Descriptor, source: Documents, known: Known, slots: asyncio.Semaphore, named: _Named
) -> _Step:
    digest = descriptor.digest
    async with slots:
        data = await source.document(descriptor)
        view = _view(descriptor, data)
        children, blobs = _split(view)
        named.add(blobs)
        is_there = await known.has_document(digest)
        referrers = await source.referrers(descriptor)
        names = [cosign_tag(digest, suffix) for suffix in COSIGN_SUFFIXES]
        tagged = await gather_all(source.tagged(name) for name in names)
    own = Descriptor(view.media_type, digest, len(data))
    tags = {name: each for name, each in zip(names, tagged, strict=True) if each is not None}
    return _Step(Surveyed(own, children, blobs, is_there), referrers, tags)


def _view(descriptor: Descriptor, data: bytes) -> Manifest | Index:
    try:
        return parse_document(data, descriptor.media_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{descriptor.digest}: {error}") from None


def _split(view: Manifest | Index) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """Return the documents and the blobs that a document names; an index may name what is no document."""
    if isinstance(view, Manifest):
        return (), _kept(view.descriptors)
    children = tuple(filter(_is_document, view.descriptors))
    return children, _kept(each for each in view.descriptors if not _is_document(each))


def _is_document(member: Descriptor) -> bool:
    return member.media_type in ACCEPTED_TYPES or not member.media_type


def _kept(blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Leave out what has URLs of its own: registries do not look for it (image-spec layer.md, non-distributable)."""
    return tuple(blob for blob in blobs if not blob.urls)


def cosign_tag(digest: Digest, suffix: str) -> str:
    """Return the tag under which cosign attaches something to what has `digest`."""
    return f"{digest.algorithm}-{digest.hex}.{suffix}"
