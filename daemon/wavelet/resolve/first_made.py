"""The first made: what may have other bytes when it is made again stands as the first node has made it.

It is claimed under its key, with its own document as what is claimed. What that speaks of is shared with the other
nodes; where nothing is shared, this node's store has the last copy, which is not evicted while the claim may stand.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from wavelet.cluster.claims import Claims
from wavelet.image.image import Content, Descriptor, Image, MadeBy
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Kind, Work
from wavelet.plan.node import Node
from wavelet.quantities import size as size_of
from wavelet.store.content import ContentStore


class Sharing(Protocol):
    """What it takes to agree with other nodes."""

    async def claimed(self, key: str) -> bytes | None:
        """Return what was claimed under `key` by any node."""

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """Return what whoever claimed `key` first has claimed; with `replace` it is this."""

    async def share(self, file: Path, digest: Digest) -> None:
        """Let other nodes have a blob that a claim speaks of."""

    async def shared(self, descriptor: Descriptor, key: str) -> Content | None:
        """Return a blob that the claim of `key` speaks of, this node's own or another's; None if nobody has it."""

    async def keep_last_copy(self, content: Content) -> None:
        """Keep a blob from eviction for good if no other place has it."""

    async def renew(self, key: str, contents: Collection[Content]) -> None:
        """Count the claim of `key` as used, and blobs that it speaks of, wherever they are kept."""


class ClusterSharing:
    """`Sharing` by what the nodes of a cluster have in common; where that keeps no blobs, this node's store does."""

    def __init__(self, claims: Claims, store: ContentStore) -> None:
        self._store = store
        self._claims = claims
        self.claimed = claims.claimed
        self.claim = claims.claim
        self.share = claims.share

    async def shared(self, descriptor: Descriptor, key: str) -> Content | None:
        """See `Sharing`."""
        content = Content(descriptor, MadeBy(key))
        digest, origin = descriptor.digest, content.source.origin
        if await self._store.open(digest, origin, thorough=True) is not None:
            return content
        what = f"what is being made ({size_of(descriptor.size)})"
        async with self._store.scratch(descriptor.size, what) as directory:
            size = await self._claims.fetch(digest, directory / "shared", descriptor.size)
            if size != descriptor.size:
                return None
            await self._store.adopt(directory / "shared", digest, descriptor.size, origin)
            return content

    async def keep_last_copy(self, content: Content) -> None:
        """See `Sharing`."""
        if not self._claims.shares:
            await self._store.retention.keep_last_copy(content.descriptor.digest)

    async def renew(self, key: str, contents: Collection[Content]) -> None:
        """See `Sharing`."""
        await self._claims.renew(key, [content.descriptor.digest for content in contents])
        for content in contents:
            if self._store.size_of(content.descriptor.digest):
                await self.keep_last_copy(content)


async def make_first(kind: Kind[Any], node: Node, work: Work, sharing: Sharing) -> Image:
    """Return the image of a node: another's if there is one, else made here.

    Raises:
        WaveletError: those of `Kind.make`.
    """
    found = await _taken(kind, await sharing.claimed(work.key), work, sharing)
    if found is not None:
        work.report(kind.taken)
        return found
    made = await kind.make(node, work)
    document = await work.read(made.closure[made.descriptor.digest])
    for content in made.contents:
        if content.descriptor.digest != made.descriptor.digest:
            await sharing.share(await work.path(content), content.descriptor.digest)
    # Before it is claimed: after a crash between the two, what the claim speaks of is there.
    await _keep(made, sharing)
    first = await sharing.claim(work.key, document)
    if first != document and kind.contents(first) is not None:
        theirs = await _taken(kind, first, work, sharing)
        if theirs is not None:
            return theirs
        # It can be had from nobody: from now on this is what all nodes take.
        work.report(kind.lost)
        await sharing.claim(work.key, document, replace=True)
    return made


async def _taken(kind: Kind[Any], document: bytes | None, work: Work, sharing: Sharing) -> Image | None:
    """Return the image that a claim speaks of, if all of it can be had."""
    said = None if document is None else kind.contents(document)
    if document is None or said is None:
        return None
    media_type, descriptors = said
    contents = [await sharing.shared(descriptor, work.key) for descriptor in descriptors]
    there = [content for content in contents if content is not None]
    if len(there) < len(contents):
        return None
    own = await work.keep(document, media_type)
    image = Image.of(own.descriptor, [own, *there])
    await _keep(image, sharing)
    return image


async def _keep(image: Image, sharing: Sharing) -> None:
    for content in image.contents:
        await sharing.keep_last_copy(content)
