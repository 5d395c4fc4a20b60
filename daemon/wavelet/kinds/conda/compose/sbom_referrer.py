"""The bill of materials beside the image that it is of, as a referrer."""

from __future__ import annotations

from wavelet.image.image import Content
from wavelet.image.manifest import OCI_MANIFEST, Descriptor
from wavelet.kinds.conda.compose import sbom
from wavelet.kinds.work import Work


async def attach(work: Work, subject: Descriptor, document: bytes) -> list[Content]:
    """Return what an image's closure needs in addition: the manifest with `subject`, and the two that it names."""
    return [
        await work.keep(sbom.attach(subject, document), OCI_MANIFEST),
        await work.keep(document, sbom.MEDIA_TYPE),
        await work.keep(sbom.EMPTY, sbom.EMPTY_DESCRIPTOR.media_type),
    ]
