"""The manifest of a SIF in a registry: what `oras://` takes as one, and by what others know it. Pure.

Apptainer and Singularity ask for exactly this: a configuration of this type, and one layer of this type, whose title is
the name of the file.
"""

from __future__ import annotations

import json

from wavelet.image.image import OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest

SIF_CONFIG = "application/vnd.sylabs.sif.config.v1+json"
SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
TITLE = "org.opencontainers.image.title"

EMPTY_CONFIG = b"{}"
"""The configuration: a SIF says all of itself."""


def sif_manifest(layer: Descriptor, title: str) -> bytes:
    """Return the manifest of the file that `layer` is; `title` is the file's name."""
    config = Descriptor(SIF_CONFIG, Digest.of(EMPTY_CONFIG), len(EMPTY_CONFIG))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() | {"annotations": {TITLE: title}}],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
