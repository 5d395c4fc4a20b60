"""An image as projects release it: for two platforms, signed and attested, with bills of materials."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lab import images
from lab.images import Image
from lab.registry import Registry

BILL = "application/x-bill"
"""The type of its bill of materials."""


def push_release(registry: Registry, repository: str, tag: str = "1") -> Image:
    """Push an index of two platforms with cosign's signature and attestation, and a bill under the fall-back tag."""
    release = images.two_architectures(images.OCI)
    registry.push(repository, tag, release)
    for kind in COSIGN:
        registry.push(repository, cosign_tag(release, kind), images.image([images.layer({kind: kind.encode()})]))
    bill = _bill(release.members[0])
    images.push(registry.url, repository, bill.digest, bill)
    listing = {"schemaVersion": 2, "manifests": [_described(bill, artifactType=BILL)]}
    listed = Image(json.dumps(listing).encode(), "application/vnd.oci.image.index.v1+json")
    registry.push(repository, fallback_tag(release.members[0]), listed)
    return release


COSIGN = ("sig", "att")


def cosign_tag(image: Image, kind: str) -> str:
    """Return the tag at which cosign has an image's signature (`sig`), or its attestations (`att`)."""
    return f"{fallback_tag(image)}.{kind}"


def fallback_tag(image: Image) -> str:
    """Return the tag of the list of what refers to an image (distribution-spec, "Referrers Tag Schema")."""
    return image.digest.replace(":", "-")


def _bill(subject: Image) -> Image:
    """Return a manifest that refers to another one, as `oras attach` makes them."""
    made = images.image([images.layer({"bill": b"bill"})], family=images.OCI)
    members = made.json() | {"artifactType": BILL, "subject": _described(subject)}
    return replace(made, document=json.dumps(members).encode())


def _described(image: Image, **more: Any) -> dict[str, Any]:
    return {"mediaType": image.media_type, "digest": image.digest, "size": len(image.document)} | more
