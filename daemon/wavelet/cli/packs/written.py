"""A built pack written to files: as an OCI image layout (image-spec, image-layout.md, 1.0), or for a web server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wavelet.cli.packs.local_build import LocalPack
from wavelet.cli.pull.disk import writing
from wavelet.errors import InvalidRequest
from wavelet.image.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Family
from wavelet.image.reference import Digest
from wavelet.packs.building import BuiltLayer
from wavelet.packs.locations import document_of, file_of

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation by which a layout says what an image in it is called."""

EVERYWHERE = ("amd64", "arm64")
"""The architectures of the images of a pack that is for all."""


def write_layout(local: LocalPack, target: Path) -> Digest:
    """Write a pack as images that have nothing but its layers, one for each architecture; return the index's digest.

    Raises:
        InvalidRequest: there is something already.
        FileError: it cannot be written.
    """
    _prepare(target)
    with writing(target):
        blobs = target / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        for layer in local.layers:
            shutil.copyfile(layer.file, blobs / layer.digest.hex)
        architectures = sorted(local.pack.architectures) or EVERYWHERE
        images = [_image(local, each, blobs) for each in architectures]
        index = _put(blobs, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}, OCI_INDEX)
        listed = index.as_json() | {"annotations": {REF_NAME: local.pack.version}}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed]}
        (target / "index.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")
    return index.digest


def write_document(local: LocalPack, target: Path, base: str) -> list[Path]:
    """Write a pack's `containerConfig` document, and its layers beside it; return the layers' files.

    Args:
        local: the pack.
        target: the document; its directory is made.
        base: the URL of that directory, as clients will ask for it.

    Raises:
        FileError: they cannot be written.
    """
    written = []
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for each, layer in zip(local.pack.layers, local.layers, strict=True):
            written.append(target.with_name(file_of(each.layer)))
            shutil.copyfile(layer.file, written[-1])
        target.write_text(json.dumps(document_of(local.pack, base.rstrip("/")), indent=2) + "\n", "utf-8")
    return written


def _prepare(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidRequest(f"--to: {target} is there, and is not an empty directory; name another one")


def _image(local: LocalPack, architecture: str, blobs: Path) -> dict[str, Any]:
    """Write an image of one architecture, and return what an index has of it."""
    layers = list(_layers(local, architecture))
    pack = local.pack
    settings = {"Entrypoint": list(pack.entrypoint)} if pack.entrypoint else {}
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": settings | ({"Env": list(pack.env)} if pack.env else {}),
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created_by": f"wavelet pack {pack.reference}"} for _ in layers],
    }
    kind = Family.OCI.layer("gzip")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _put(blobs, config, OCI_CONFIG).as_json(),
        "layers": [Descriptor(kind, each.digest, each.size).as_json() for each in layers],
    }
    platform = {"architecture": architecture, "os": "linux"}
    return _put(blobs, manifest, OCI_MANIFEST).as_json() | {"platform": platform}


def _layers(local: LocalPack, architecture: str) -> Iterator[BuiltLayer]:
    yield from (each for each in local.layers if each.architecture in (None, architecture))


def _put(blobs: Path, document: Mapping[str, Any], media_type: str) -> Descriptor:
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    digest = Digest.of(data)
    (blobs / digest.hex).write_bytes(data)
    return Descriptor(media_type, digest, len(data))
