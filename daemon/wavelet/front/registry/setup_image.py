"""The image by which `wavelet setup` sees that an engine asks this daemon: built in, so that no network is needed.

It is answered by its digests alone, below any registry's name, since an engine's mirrors are each for one of them. So
it stands in front of no image of others. Pure; the layer is not compressed, so that its digest is the same everywhere.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from wavelet.image.image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest

PATH = "wavelet/setup-test"
"""The repository, in whichever registry."""

_ARCHITECTURES = ("amd64", "arm64", "ppc64le", "riscv64", "s390x")
_FILE = "etc/wavelet-setup-test"
_TEXT = b"This image came out of wavelet on this machine.\n"


@dataclass(frozen=True, slots=True)
class Part:
    """A document or the layer, and what it is."""

    descriptor: Descriptor
    data: bytes


@dataclass(frozen=True, slots=True)
class SetupImage:
    """The image: its index, and all parts by their digests, the index among them."""

    index: Part
    parts: dict[str, Part]


def find(path: str, reference: str) -> Part | None:
    """Return what a repository's path and a digest name, if it is of this image."""
    return setup_image().parts.get(reference) if path == PATH else None


@cache
def setup_image() -> SetupImage:
    """Return the image."""
    layer = _part(OCI_LAYER, _tar())
    parts, entries = [layer], []
    for architecture in _ARCHITECTURES:
        config = _document(
            OCI_CONFIG,
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": [f"/{_FILE}"]},
                "rootfs": {"type": "layers", "diff_ids": [str(layer.descriptor.digest)]},
            },
        )
        manifest = _document(OCI_MANIFEST, _manifest(config, [layer]))
        parts += [config, manifest]
        platform = {"architecture": architecture, "os": "linux"}
        entries.append(manifest.descriptor.as_json() | {"platform": platform})
    index = _document(OCI_INDEX, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return SetupImage(index, {part.descriptor.digest: part for part in (*parts, index)})


def _manifest(config: Part, layers: Iterable[Part]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor.as_json(),
        "layers": [layer.descriptor.as_json() for layer in layers],
    }


def _document(media_type: str, value: dict[str, object]) -> Part:
    return _part(media_type, json.dumps(value, separators=(",", ":")).encode())


def _part(media_type: str, data: bytes) -> Part:
    return Part(Descriptor(media_type, Digest.of(data), len(data)), data)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(_FILE)
        member.size, member.mode = len(_TEXT), 0o644
        archive.addfile(member, io.BytesIO(_TEXT))
    return buffer.getvalue()
