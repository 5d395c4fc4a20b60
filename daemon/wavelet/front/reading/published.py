"""The reading of containers that are SIF files already: at a URL, or in a registry under an `oras://` name. Pure.

nf-core's modules name such a URL where Singularity or Apptainer runs them.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavelet.front.reading.delivery import Refusal, changes
from wavelet.front.reading.values import ContainerValues
from wavelet.image.reference import without_login
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.kinds.sif.published.sources import is_url, url_of

_ORAS = "oras://"
_SHOWN = 200
"""Characters of a name that a message shows."""

_NOTHING_IN = (
    "nothing can be put into a SIF that is there already; leave this out, or let the container be an image, of which a"
    " SIF is made: nf-core's modules name theirs with `process.ext.singularity_pull_docker_container = true`"
)


def refusals(values: ContainerValues) -> Iterator[Refusal]:
    """Yield what cannot be asked for together with a file: a member's name, and why not. Of an image, nothing."""
    at_url = is_url(values.image)
    if not at_url and not values.image.startswith(_ORAS):
        return
    if values.format != "sif":
        yield (
            "containerImage",
            f"{without_login(values.image[:_SHOWN])!r} is no image: of an image leave out the scheme, e.g."
            " 'docker.io/library/busybox:1.36'; a file for Singularity and Apptainer is asked for with format: sif, or"
            " by a wave.endpoint that ends in /sif",
        )
    if changes(values.config):
        yield "containerConfig", _NOTHING_IN
    if values.includes:
        yield "containerIncludes", _NOTHING_IN
    if at_url and values.mirror:
        yield "mirror", "images of registries are mirrored, and no files at URLs; leave it out"


def file_of(values: ContainerValues) -> PublishedSif | None:
    """Return the file that a request names by its URL; None where it names none.

    Raises:
        InvalidRequest: it is not the URL of a file.
    """
    return PublishedSif(url_of(values.image, "containerImage")) if is_url(values.image) else None


def image_of(values: ContainerValues) -> str:
    """Return the name of an image in a registry that a request asks for: without `oras://`, that of a SIF's name."""
    return values.image.removeprefix(_ORAS) if values.format == "sif" else values.image
