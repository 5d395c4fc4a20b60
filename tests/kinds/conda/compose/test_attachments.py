"""What attaches documents to images: its bytes are those of earlier versions, for remembered closures name them."""

from __future__ import annotations

import json

from wavelet.image.image import OCI_MANIFEST, Descriptor, Manifest, parse_document
from wavelet.image.reference import Digest
from wavelet.kinds.conda.compose import sbom
from wavelet.kinds.conda.compose.attachments import EMPTY_DESCRIPTOR, Attachment, referrer_of

SUBJECT = Descriptor(OCI_MANIFEST, Digest.of(b"image"), 5)


def test_the_manifest_that_attaches_a_document() -> None:
    data = referrer_of(SUBJECT, Attachment(sbom.MEDIA_TYPE, sbom.MEDIA_TYPE, b"document"))
    view = parse_document(data)
    assert isinstance(view, Manifest)
    assert view.config == EMPTY_DESCRIPTOR
    assert view.layers == (Descriptor(sbom.MEDIA_TYPE, Digest.of(b"document"), 8),)
    found = json.loads(data)
    assert (found["artifactType"], found["subject"]) == (sbom.MEDIA_TYPE, SUBJECT.as_json())
    assert "annotations" not in found["layers"][0]
    assert Digest.of(data) == "sha256:490a81bf713cad04fd1f5651b2199b686ae315d20ee294408465ce76fa0d4c9a"


def test_a_document_with_a_name() -> None:
    found = json.loads(referrer_of(SUBJECT, Attachment("application/x", "text/plain", b"a", title="a.txt")))
    assert found["layers"] == [
        Descriptor("text/plain", Digest.of(b"a"), 1).as_json()
        | {"annotations": {"org.opencontainers.image.title": "a.txt"}}
    ]
