"""Lists of referrers under fall-back tags (distribution-spec, "Referrers Tag Schema"), as they are added to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from wavelet import foreign_json
from wavelet.errors import InvalidRequest
from wavelet.foreign_json import ForeignJsonError
from wavelet.image.image import OCI_INDEX
from wavelet.image.reference import Digest

_EMPTY = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to another one, and the descriptor under which it is listed."""

    subject: Digest
    descriptor: dict[str, Any]


class _Subject(msgspec.Struct):
    digest: str


class _Config(msgspec.Struct, rename={"media_type": "mediaType"}):
    media_type: str = ""


class _Document(msgspec.Struct, rename={"artifact_type": "artifactType"}):
    subject: _Subject | None = None
    artifact_type: str = ""
    config: _Config | None = None
    annotations: dict[str, Any] | None = None


def referrer_of(data: bytes, media_type: str, digest: Digest) -> Referrer | None:
    """Read whether a manifest or index, which is kept under `digest`, has a `subject`, and how it is listed then."""
    try:
        document = foreign_json.decode(data, _Document)
        subject = None if document.subject is None else Digest.parse(document.subject.digest)
    except (ForeignJsonError, InvalidRequest):
        return None
    if subject is None:
        return None
    kind = document.artifact_type or ("" if document.config is None else document.config.media_type)
    descriptor: dict[str, Any] = {"mediaType": media_type, "digest": str(digest), "size": len(data)}
    more = {"artifactType": kind, "annotations": document.annotations}
    return Referrer(subject, descriptor | {name: value for name, value in more.items() if value})


def with_referrer(index: bytes | None, referrer: Referrer) -> bytes | None:
    """Return an index, or a first one, with a referrer added at its end; None where it is listed already.

    What others have put into it stays as it is. One that cannot be read begins anew.
    """
    try:
        document = _EMPTY if index is None else foreign_json.decode(index, dict[str, Any])
    except ForeignJsonError:
        document = _EMPTY
    held = document.get("manifests")
    listed = held if isinstance(held, list) else []
    if any(isinstance(each, dict) and each.get("digest") == referrer.descriptor["digest"] for each in listed):
        return None
    return msgspec.json.encode(document | {"manifests": [*listed, referrer.descriptor]})
