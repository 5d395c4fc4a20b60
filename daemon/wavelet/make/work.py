"""The seam between the makers and whoever runs them."""

from __future__ import annotations

from typing import Protocol

from wavelet.errors import UpstreamBroken
from wavelet.image.augment import AddedLayer
from wavelet.image.image import Content, FromUpstream, Image
from wavelet.image.manifest import Descriptor, Index, MalformedManifest, Manifest, parse_document
from wavelet.image.reference import Reference, Repository
from wavelet.plan.plan import Layer, Plan


class Work(Protocol):
    """What a maker may do.

    Attributes:
        key: the memo key of the plan that is being made.
    """

    key: str

    async def realise(self, plan: Plan) -> Image:
        """Return the image of another pinned plan, made or remembered."""

    async def manifest(self, reference: Reference) -> tuple[bytes, str]:
        """Return a manifest by digest, and the media type that it was answered with (empty if unknown)."""

    async def read(self, content: Content) -> bytes:
        """Return small content whole: a manifest or a configuration."""

    async def layer(self, layer: Layer) -> Content:
        """Return a layer that the request names, fetched from its location and verified in all that was said of it."""

    async def keep(self, data: bytes, media_type: str) -> Content:
        """Keep a document that this maker has written."""


async def read_document(work: Work, content: Content) -> tuple[bytes, Manifest | Index]:
    """Return a manifest or index of a closure, as bytes and as view.

    Raises:
        UpstreamBroken: it is neither.
    """
    data = await work.read(content)
    try:
        return data, parse_document(data, content.descriptor.media_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{content.descriptor.digest}: {error}") from None


def from_upstream(repository: Repository, descriptors: tuple[Descriptor, ...]) -> list[Content]:
    """Return contents that have `repository` as their source."""
    return [Content(descriptor, FromUpstream(repository)) for descriptor in descriptors]


def added(layer: Layer, content: Content) -> AddedLayer:
    """Return a verified layer as augmentation takes it."""
    return AddedLayer(layer.digest, content.descriptor.size, layer.diff_id, "gzip", layer.architecture)
