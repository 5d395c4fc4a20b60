"""An image's own documents, as inspection shows them."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import UpstreamBroken
from wavelet.image.image import Descriptor, MalformedManifest, Manifest, parse_document
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.resolve.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Documents:
    """An image's own documents; an index has no configuration."""

    descriptor: Descriptor
    manifest: bytes
    config: bytes | None


async def read_documents(resolver: Resolver, plan: Node, name: str, identity: Identity) -> Documents:
    """Return the documents of the image of a plan that is called `name`.

    Raises:
        WaveletError: why they cannot be had.
    """
    _, image = await resolver.realise(plan, identity)
    manifest = await resolver.read(image.closure[image.descriptor.digest], identity)
    try:
        view = parse_document(manifest, image.descriptor.media_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{name}: {error}") from None
    if not isinstance(view, Manifest) or view.config is None:
        return Documents(image.descriptor, manifest, None)
    return Documents(image.descriptor, manifest, await resolver.read(image.closure[view.config.digest], identity))
