"""The maker of indexes: several platforms under one name, exactly those that were asked for."""

from __future__ import annotations

from wavelet.errors import ImageNotFound
from wavelet.image.augment import make_index
from wavelet.image.image import Content, Descriptor, Image, Manifest, parse_document
from wavelet.image.reference import Platform
from wavelet.kinds.augment.make import platform_and_layers
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.kind import Work, read_document
from wavelet.kinds.registry_image.make import absent
from wavelet.plan.node import title


async def make(plan: ImageIndex, work: Work) -> Image:
    """Return an index of the members' images.

    Raises:
        ImageNotFound: a member's image is of another platform.
    """
    members: dict[Platform, Descriptor] = {}
    contents: list[Content] = []
    for platform, member in plan.members:
        image = await work.realise(member)
        await _check(work, image, platform, title(member))
        members[platform] = image.descriptor
        contents += image.contents
    data = make_index(members)
    own = await work.keep(data, parse_document(data).media_type)
    return Image.of(own.descriptor, [own, *contents])


async def _check(work: Work, image: Image, platform: Platform, name: str) -> None:
    _, view = await read_document(work, image.closure[image.descriptor.digest])
    if not isinstance(view, Manifest) or view.config is None:
        raise ImageNotFound(f"{name} is not an image for {platform}")
    own, _ = await platform_and_layers(work, image, view.config)
    if own != platform:
        raise absent(name, platform, [own])
