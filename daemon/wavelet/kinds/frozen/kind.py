"""The kind of frozen images: what is frozen, with a note of what it came from.

The note is in annotations of its document, where that is of a family which has them (OCI). There is nothing in it that
moves, so that the same is frozen to the same bytes on every node, and nothing that opens anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from wavelet.concurrency import gather_all
from wavelet.image.image import Family, Image
from wavelet.kinds.attached import attached_anew
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.kind import Kind, Work, read_document
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node, source, walk

PLAN = "wavelet.plan"
"""The annotation with the key of the pinned plan: a SHA-256 over all on which the image's bytes depend."""

LOCK = "wavelet.lock"
"""The annotation with the digest of the lock that is attached to the image; of several, as an index of images for two
platforms has, with a comma between them."""

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
"""Annotations with the image at the bottom (image-spec annotations.md). An image that says them itself keeps them."""


class FrozenImages(Kind[FrozenImage]):
    """See the module."""

    node = FrozenImage

    async def make(self, node: FrozenImage, work: Work) -> Image:
        """See `Kind`. An image of a registry with nothing added is returned as it is, so that it keeps its digest."""
        image = await work.realise(node.image)
        data, view = await read_document(work, image.closure[image.descriptor.digest])
        if node.is_unchanged or Family.of(view.media_type) is not Family.OCI:
            return image
        own = await work.keep(annotated(data, provenance(node.image)), view.media_type)
        others = [each for each in image.contents if each.descriptor.digest != image.descriptor.digest]
        kept = await gather_all(attached_anew(work, each, image.descriptor, own.descriptor) for each in others)
        return Image.of(own.descriptor, [own, *kept], image.derived_from)


def provenance(pinned: Node) -> dict[str, str]:
    """Return what is noted of the plan that an image is made of."""
    base = source(pinned)
    named = {} if base.repository is None else {BASE_NAME: str(base.repository), BASE_DIGEST: str(base.digest)}
    locks = dict.fromkeys(str(node.lock_digest) for node in walk(pinned) if node.lock_digest is not None)
    return named | ({LOCK: ",".join(locks)} if locks else {}) | {PLAN: f"sha256:{key_of(pinned)}"}


def annotated(document: bytes, annotations: Mapping[str, str]) -> bytes:
    """Return a manifest or index with these annotations, those that it has standing; members keep their order."""
    members = json.loads(document)
    members["annotations"] = dict(annotations) | (members.get("annotations") or {}) | {PLAN: annotations[PLAN]}
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
