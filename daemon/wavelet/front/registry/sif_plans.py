"""The plans of SIFs: what a name answers, for one platform, compressed as the site has it.

A tag may end in a platform, `1.17--linux-arm64`. Without one it is what the image is for, or, of several, this node's
own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wavelet.errors import ImageNotFound, InvalidRequest
from wavelet.image.reference import Platform
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.node import Node
from wavelet.requests.request import Rewrite

_SUFFIX = re.compile(r"(?P<tag>.+)--(?P<os>linux)-(?P<architecture>[a-z0-9_]+)(?:-(?P<variant>v?[0-9]+))?")


def read_tag(tag: str) -> tuple[str, Platform | None]:
    """Return a tag of an image, and the platform that was put behind it.

    Raises:
        ImageNotFound: it is one for which no images are made here.
    """
    found = _SUFFIX.fullmatch(tag)
    if found is None:
        return tag, None
    text = "/".join(filter(None, found.group("os", "architecture", "variant")))
    try:
        return found["tag"], Platform.parse(text, "tag")
    except InvalidRequest as error:
        raise ImageNotFound(error.message, field=error.field) from None


def write_tag(tag: str, platform: Platform | None) -> str:
    """Return a tag with a platform behind it, as `read_tag` takes it apart."""
    return tag if platform is None else f"{tag}--{str(platform).replace('/', '-')}"


@dataclass(frozen=True, slots=True)
class SifPlans:
    """Makes such plans.

    Attributes:
        codec: the site's rule that has them compressed as it says.
        own: this node's platform.
    """

    codec: Rewrite
    own: Platform

    def of(self, image: Node, platform: Platform | None) -> Node:
        """Return the plan of an image as a SIF, for a platform if one is asked for; what is a file already stays.

        Raises:
            ImageNotFound: the image is not for that platform.
        """
        offered = image.description.platforms
        if platform is not None and offered and platform not in offered:
            raise ImageNotFound(f"it is for {', '.join(map(str, offered))}, not for {platform}")
        if image.is_file:
            return image
        chosen = platform or (offered[0] if offered and self.own not in offered else self.own)
        return self.codec(SifImage(image.for_platform(chosen), chosen))
