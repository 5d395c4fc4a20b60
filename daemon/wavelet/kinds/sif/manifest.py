"""The image of a SIF: the manifest that `oras://` takes as one, and the file that it names. Pure.

Apptainer and Singularity ask for exactly this: a configuration of this type, and one layer of this type, whose title is
the name of the file.
"""

from __future__ import annotations

import json

from wavelet.errors import ImageNotFound
from wavelet.image.image import OCI_MANIFEST, Content, Descriptor, Image, Index, Manifest
from wavelet.image.reference import Digest

SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
FILE_NAME = "image.sif"
"""What ORAS calls the file. A manifest is a function of its plan's key, in which no name takes part."""

TITLE = "org.opencontainers.image.title"

EMPTY_CONFIG = b"{}"
"""The configuration: a SIF says all of itself."""


def sif_manifest(layer: Descriptor, title: str = FILE_NAME) -> bytes:
    """Return the manifest of the file that `layer` is; `title` is the file's name."""
    config = Descriptor(SIF_CONFIG, Digest.of(EMPTY_CONFIG), len(EMPTY_CONFIG))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() | {"annotations": {TITLE: title}}],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def file_in(view: Manifest | Index) -> Digest | None:
    """Return the digest of the file that a manifest is of, if it is a SIF's, whoever has made it."""
    if not isinstance(view, Manifest) or view.config is None or view.config.media_type != SIF_CONFIG:
        return None
    files = [layer.digest for layer in view.layers if layer.media_type == SIF_LAYER]
    return files[0] if len(files) == len(view.layers) == 1 else None


def file_of(image: Image) -> Content:
    """Return the file that an image is.

    Raises:
        ImageNotFound: it is no SIF.
    """
    files = [content for content in image.contents if content.descriptor.media_type == SIF_LAYER]
    if len(files) != 1:
        raise ImageNotFound(f"{image.descriptor.digest} is no SIF: it has {len(files)} files")
    return files[0]
