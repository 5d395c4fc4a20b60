"""The maker of images that a registry has: its own bytes, and what they name."""

from __future__ import annotations

from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.digest import Digest
from wavelet.image.image import Image
from wavelet.image.manifest import Descriptor, Index, MalformedManifest, parse_document
from wavelet.make.work import Work, from_upstream
from wavelet.plan.source import FromRegistry


async def make(plan: FromRegistry, work: Work) -> Image:
    """Return the image as it is, or, of an index, the entry for the plan's platform.

    A manifest that is no index is served whatever platform was asked for: many images say the wrong one of themselves.

    Raises:
        ImageNotFound: the index has no such platform.
        UpstreamBroken: the registry's document is not one.
    """
    reference = plan.reference
    data, content_type = await work.manifest(reference)
    try:
        view = parse_document(data, content_type)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{reference}: {error}") from None
    if isinstance(view, Index) and plan.platform is not None:
        entry = view.select(plan.platform)
        if entry is None:
            raise ImageNotFound(f"{reference} has no {plan.platform}; it has {view.platforms()}")
        return await work.realise(FromRegistry(reference.at(entry.descriptor.digest), plan.platform))
    digest = reference.digest or Digest.of(data)
    own = Descriptor(view.media_type, digest, len(data))
    return Image.of(own, from_upstream(reference.repository, (own, *view.descriptors)))
