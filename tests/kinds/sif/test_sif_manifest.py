"""Which manifests are those of a SIF, whoever has made them."""

from __future__ import annotations

import pytest

from wavelet.image.image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Index, Manifest
from wavelet.image.reference import Digest
from wavelet.kinds.sif.manifest import SIF_CONFIG, SIF_LAYER, file_in

FILE = Descriptor(SIF_LAYER, Digest.of(b"sif"), 3)
LAYER = Descriptor(OCI_LAYER, Digest.of(b"tar"), 3)


def config(media_type: str) -> Descriptor:
    return Descriptor(media_type, Digest.of(b"{}"), 2)


def test_the_file_of_a_sif() -> None:
    assert file_in(Manifest(OCI_MANIFEST, config(SIF_CONFIG), (FILE,))) == FILE.digest


@pytest.mark.parametrize(
    "view",
    [
        Index(OCI_INDEX, ()),
        Manifest(OCI_MANIFEST, None, (FILE,)),
        Manifest(OCI_MANIFEST, config(OCI_CONFIG), (FILE,)),
        Manifest(OCI_MANIFEST, config(SIF_CONFIG), ()),
        Manifest(OCI_MANIFEST, config(SIF_CONFIG), (LAYER,)),
        Manifest(OCI_MANIFEST, config(SIF_CONFIG), (FILE, LAYER)),
        Manifest(OCI_MANIFEST, config(SIF_CONFIG), (FILE, FILE)),
    ],
)
def test_what_is_no_sif(view: Manifest | Index) -> None:
    assert file_in(view) is None
