"""The entries of a repository for layers: an artifact for each, tagged and sealed under the cluster's key. Pure.

Whoever may write the repository could put anything there, and what a node takes from it becomes its content for all. So
the tag is a keyed hash of the layer's key, and a seal in an annotation says that a node which has the key has made
exactly this of it: what is sealed by nobody, under another key, or for another layer, is no entry.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable

import msgspec

from wavelet import foreign_json
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import (
    OCI_MANIFEST,
    Content,
    Descriptor,
    Image,
    MadeBy,
    MalformedManifest,
    Manifest,
    parse_document,
)

ARTIFACT_TYPE = "application/vnd.wavelet.cached-layer.v1"

SEAL = "wavelet.seal"
"""The annotation with the seal, 64 hexadecimal digits."""

_TAG_DIGITS = 32


def tag_of(secret: bytes, key: str) -> str:
    """Return the tag of the layer of the node with `key`; `secret` is the cluster's key."""
    return f"layer-{_mac(secret, 'layer tag', key)[:_TAG_DIGITS]}"


def entry_of(secret: bytes, key: str, image: Image) -> bytes:
    """Return the manifest of an entry: the image's own document is its configuration, and all else are layers."""
    contents = [image.descriptor, *(each.descriptor for each in image.contents if each.descriptor != image.descriptor)]
    document, *layers = contents
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": document.as_json(),
        "layers": [each.as_json() for each in layers],
        "annotations": {SEAL: _seal(secret, key, contents)},
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def read_entry(secret: bytes, key: str, data: bytes) -> Image | None:
    """Return the image that an entry is of; None if no node that has the key has sealed it for this layer."""
    try:
        view = parse_document(data)
        seal = foreign_json.decode(data, _Annotated).annotations.get(SEAL, "")
    except (MalformedManifest, ForeignJsonError):
        return None
    if not isinstance(view, Manifest) or view.config is None:
        return None
    contents = [Descriptor(each.media_type, each.digest, each.size) for each in view.descriptors]
    if any("\0" in each.media_type for each in contents):
        return None  # it could stand for several of what is sealed
    if not hmac.compare_digest(seal.encode(), _seal(secret, key, contents).encode()):
        return None
    return Image.of(contents[0], [Content(each, MadeBy(key)) for each in contents])


class _Annotated(msgspec.Struct):
    annotations: dict[str, str] = {}


def _seal(secret: bytes, key: str, contents: Iterable[Descriptor]) -> str:
    # No part has a zero byte in it.
    return _mac(secret, "layer seal", key, *(f"{each.media_type} {each.digest} {each.size}" for each in contents))


def _mac(secret: bytes, *parts: str) -> str:
    return hmac.new(secret, b"\0".join(part.encode() for part in parts), hashlib.sha256).hexdigest()
