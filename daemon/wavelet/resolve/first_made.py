"""The first made: what may have other bytes when it is made again stands as the first node has made it.

It is claimed under its key, with its own document as what is claimed. What that speaks of is shared with the other
nodes; where nothing is shared, this node's store has the last copy, which is never evicted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from wavelet.image.digest import Digest
from wavelet.image.image import Content, Image
from wavelet.image.manifest import Descriptor
from wavelet.kinds.kind import Kind
from wavelet.kinds.work import Work
from wavelet.plan.node import Node


class Sharing(Work, Protocol):
    """What it takes to agree with other nodes."""

    async def claimed(self, key: str) -> bytes | None:
        """Return what was claimed under `key` by any node."""

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """Return what whoever claimed `key` first has claimed; with `replace` it is this."""

    async def share(self, file: Path, digest: Digest) -> None:
        """Let other nodes have a blob that a claim speaks of."""

    async def shared(self, descriptor: Descriptor) -> Content | None:
        """Return a blob that a claim speaks of: this node's own, or another's; None if it is nowhere to be had."""

    async def keep_last_copy(self, content: Content) -> None:
        """Keep a blob from eviction for good if no other place has it."""


async def make_first(kind: Kind[Any], node: Node, work: Sharing) -> Image:
    """Return the image of a node: another's if there is one, else made here.

    Raises:
        WaveletError: those of `Kind.make`.
    """
    found = await _taken(kind, await work.claimed(work.key), work)
    if found is not None:
        work.report(kind.taken)
        return found
    made = await kind.make(node, work)
    document = await work.read(made.closure[made.descriptor.digest])
    for content in made.contents:
        if content.descriptor.digest != made.descriptor.digest:
            await work.share(await work.path(content), content.descriptor.digest)
    # Before it is claimed: after a crash between the two, what the claim speaks of is there.
    await _keep(made, work)
    first = await work.claim(work.key, document)
    if first != document and kind.contents(first) is not None:
        theirs = await _taken(kind, first, work)
        if theirs is not None:
            return theirs
        # It can be had from nobody: from now on this is what all nodes take.
        work.report(kind.lost)
        await work.claim(work.key, document, replace=True)
    return made


async def _taken(kind: Kind[Any], document: bytes | None, work: Sharing) -> Image | None:
    """Return the image that a claim speaks of, if all of it can be had."""
    said = None if document is None else kind.contents(document)
    if document is None or said is None:
        return None
    media_type, descriptors = said
    contents = [await work.shared(descriptor) for descriptor in descriptors]
    there = [content for content in contents if content is not None]
    if len(there) < len(contents):
        return None
    own = await work.keep(document, media_type)
    image = Image.of(own.descriptor, [own, *there])
    await _keep(image, work)
    return image


async def _keep(image: Image, work: Sharing) -> None:
    for content in image.contents:
        await work.keep_last_copy(content)
