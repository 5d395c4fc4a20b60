"""The documents of an image of packages: configuration and manifest, from its base's (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wavelet.image.digest import Digest
from wavelet.image.manifest import Descriptor, Family, Manifest
from wavelet.kinds.conda.compose import activation
from wavelet.kinds.conda.model.node import LockedEnvironment

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Placed:
    """A layer in its place: what it is, said for people (`says`) and for programs (`annotations`)."""

    descriptor: Descriptor
    diff_id: Digest
    says: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    """What packages want of the shell: variables, and scripts to run, by their paths in the prefix."""

    variables: Mapping[str, str]
    scripts: tuple[str, ...]


def config(
    base: Mapping[str, Any], layers: Sequence[Placed], plan: LockedEnvironment, environment: Environment
) -> bytes:
    """Return the configuration: the base's with the layers, the environment, and labels saying what it is made of."""
    settings = dict(base.get("config") or {})
    settings["Env"] = activation.environment(settings.get("Env") or [], environment.variables, environment.scripts)
    entrypoint = activation.entrypoint(settings.get("Entrypoint") or [], environment.scripts)
    settings |= {"Entrypoint": entrypoint} if entrypoint else {}
    settings["Labels"] = {**(settings.get("Labels") or {}), **origin(plan)}
    rootfs = base.get("rootfs") or {"type": "layers"}
    result = {**base, "created": _EPOCH, "config": settings}
    history = base.get("history") or []
    # As in augmentation: a history that does not speak of all layers confuses engines more than none.
    if history or not rootfs.get("diff_ids"):
        result["history"] = history + [
            {"created": _EPOCH, "created_by": f"wavelet conda {each.says}"} for each in layers
        ]
    result["rootfs"] = rootfs | {"diff_ids": [*(rootfs.get("diff_ids") or []), *(each.diff_id for each in layers)]}
    return _write(result)


def manifest(
    data: bytes, base: Manifest, config: Descriptor, layers: Sequence[Placed], plan: LockedEnvironment
) -> bytes:
    """Return the manifest: the base's layers as its own manifest has them, and the new ones.

    Annotations are for OCI manifests; Docker's have no such member, there the labels and the history have to do.
    """
    family = Family.of(base.media_type)
    oci = family is Family.OCI
    added = [
        Descriptor(family.layer(), each.descriptor.digest, each.descriptor.size).as_json()
        | ({"annotations": dict(each.annotations)} if oci and each.annotations else {})
        for each in layers
    ]
    result = {
        "schemaVersion": 2,
        "mediaType": base.media_type,
        "config": config.as_json(),
        "layers": [*(json.loads(data).get("layers") or []), *added],
    }
    return _write(result | ({"annotations": origin(plan)} if oci else {}))


def origin(plan: LockedEnvironment) -> dict[str, str]:
    """Return what an image says of itself in labels and annotations (image-spec annotations.md)."""
    counts = {"wavelet.packages": len(plan.packages), "wavelet.wheels": len(plan.wheels)}
    repository = plan.base.repository
    named = {
        "org.opencontainers.image.base.name": str(repository),
        "org.opencontainers.image.base.digest": str(plan.base.digest),
    }
    return {
        **(named if repository is not None else {}),
        **{name: str(count) for name, count in counts.items() if count},
    }


def _write(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
