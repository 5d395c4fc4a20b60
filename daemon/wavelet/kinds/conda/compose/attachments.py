"""Documents that are attached to an image: OCI artifacts with the image as their subject, found as its referrers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from wavelet.image.image import OCI_MANIFEST, Content, Descriptor
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Work

EMPTY = b"{}"
"""The configuration of a manifest that has none (image-spec manifest.md, "Guidance for an Empty Descriptor")."""
EMPTY_DESCRIPTOR = Descriptor("application/vnd.oci.empty.v1+json", Digest.of(EMPTY), len(EMPTY))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document to attach.

    Attributes:
        artifact_type: what it is, by which referrers are told apart.
        media_type: of the document.
        title: the name of its file; empty: it has none.
    """

    artifact_type: str
    media_type: str
    document: bytes
    title: str = ""


def referrer_of(subject: Descriptor, attachment: Attachment) -> bytes:
    """Return the manifest that attaches a document to an image (image-spec manifest.md, "artifact usage").

    It names `EMPTY_DESCRIPTOR` and the document, which have to be served with it.
    """
    data = attachment.document
    titled = {"annotations": {"org.opencontainers.image.title": attachment.title}} if attachment.title else {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": attachment.artifact_type,
        "config": EMPTY_DESCRIPTOR.as_json(),
        "layers": [Descriptor(attachment.media_type, Digest.of(data), len(data)).as_json() | titled],
        "subject": subject.as_json(),
    }
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()


async def attach(work: Work, subject: Descriptor, attachments: Iterable[Attachment]) -> list[Content]:
    """Return what an image's closure needs in addition: manifests with `subject`, and what these name."""
    found: list[Content] = []
    for each in attachments:
        found.append(await work.keep(referrer_of(subject, each), OCI_MANIFEST))
        found.append(await work.keep(each.document, each.media_type))
    return [*found, await work.keep(EMPTY, EMPTY_DESCRIPTOR.media_type)]
