"""Augmentation: an image's documents with layers, environment and entry point added, as bytes from bytes.

The same input gives the same bytes for ever (a golden file holds that), so nothing here looks at a clock, and JSON is
written in one way: the members of the original in their order, without white space, new members last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavelet.errors import InvalidRequest
from wavelet.image.image import (
    OCI_INDEX,
    Descriptor,
    Family,
    MalformedManifest,
    Manifest,
    merge_env,
    parse_config,
    parse_document,
    read_entries,
)
from wavelet.image.reference import Digest, Platform

LAYER_LIMIT = 127
"""Layers that Docker and containerd can mount over each other."""

ENTRY_CHAIN = "WAVE_ENTRY_CHAIN"
"""The variable under which Wave hands the image's own entry point to a launcher such as Fusion's."""

RULES_ANNOTATION = "wavelet.rules"
"""The annotation that names the site's rules by which something was added, with commas between them."""

_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class AddedLayer:
    """A layer to add: the blob, its diff ID (digest of the tar), and the one architecture it is for, if any."""

    digest: Digest
    size: int
    diff_id: Digest
    compression: str = "gzip"
    architecture: str | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    """What augmentation puts on an image; an empty member leaves the image's own.

    Attributes:
        labels: name and value each.
        rules: what `RULES_ANNOTATION` says. Docker's manifests have no annotations.
    """

    layers: tuple[AddedLayer, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AugmentedManifest:
    """The new documents, and which layers of the addition took part."""

    manifest: bytes
    media_type: str
    config: bytes
    config_media_type: str
    layers: tuple[AddedLayer, ...]
    platform: Platform


def augment_manifest(manifest: bytes, content_type: str, config: bytes, addition: Addition) -> AugmentedManifest:
    """Return `manifest` and its `config` with `addition`.

    Raises:
        MalformedManifest: the documents are not an image's.
        InvalidRequest: more layers than engines can mount.
    """
    view = parse_document(manifest, content_type)
    if not isinstance(view, Manifest) or view.config is None:
        raise MalformedManifest("only an image's manifest can be augmented")
    document, image = parse_config(config)
    added = tuple(each for each in addition.layers if each.architecture in (None, image.platform.architecture))
    if len(view.layers) + len(added) > LAYER_LIMIT:
        raise InvalidRequest(
            f"the image would have {len(view.layers) + len(added)} layers; engines mount {LAYER_LIMIT} at most",
            field="containerConfig.layers",
        )
    new_config = _write(_augment_config(document, added, addition))
    new_manifest = json.loads(manifest)
    family = Family.of(view.media_type)
    new_manifest["config"] |= {"digest": Digest.of(new_config), "size": len(new_config)}
    new_manifest["layers"] = (new_manifest.get("layers") or []) + [
        Descriptor(family.layer(each.compression), each.digest, each.size).as_json() for each in added
    ]
    if addition.rules and family is Family.OCI:
        annotations = new_manifest.get("annotations") or {}
        said = annotations.get(RULES_ANNOTATION)
        named = [*(said.split(",") if isinstance(said, str) else ()), *addition.rules]
        new_manifest["annotations"] = annotations | {RULES_ANNOTATION: ",".join(dict.fromkeys(named))}
    return AugmentedManifest(
        _write(new_manifest), view.media_type, new_config, view.config.media_type, added, image.platform
    )


def _augment_config(document: dict[str, Any], added: tuple[AddedLayer, ...], addition: Addition) -> dict[str, Any]:
    settings = document.get("config") or {}
    own_entrypoint = settings.get("Entrypoint") or []
    chain = [] if not own_entrypoint else [f"{ENTRY_CHAIN}={_chain(own_entrypoint)}"]
    settings = dict(settings)
    for member, value in (("Entrypoint", addition.entrypoint), ("Cmd", addition.cmd)):
        if value:
            settings[member] = list(value)
    if addition.working_dir:
        settings["WorkingDir"] = addition.working_dir
    if addition.env or chain:
        settings["Env"] = merge_env(settings.get("Env") or [], addition.env, chain)
    if addition.labels:
        settings["Labels"] = (settings.get("Labels") or {}) | dict(addition.labels)
    rootfs = dict(document.get("rootfs") or {"type": "layers"})
    history = document.get("history") or []
    result = {**document, "config": settings}
    # A history that does not speak of all layers confuses engines more than none, so ours is added to a whole one only.
    if history or not rootfs.get("diff_ids"):
        result["history"] = history + [
            {"created": _EPOCH, "created_by": f"wavelet augment {layer.diff_id}", "comment": "added by request"}
            for layer in added
        ]
    result["rootfs"] = rootfs | {"diff_ids": [*(rootfs.get("diff_ids") or []), *(layer.diff_id for layer in added)]}
    return result


def _chain(entrypoint: list[str]) -> str:
    return entrypoint[0] if len(entrypoint) == 1 else _write(entrypoint).decode()


def augment_index(index: bytes, replaced: Mapping[Digest, Descriptor]) -> bytes:
    """Return `index` with the entries of `replaced` (old digest to new descriptor), and without all others.

    An entry that was not augmented is never left behind: an engine of that platform would silently run the bare image.
    """
    document = json.loads(index)
    document["manifests"] = [
        wire | {"digest": new.digest, "size": new.size}
        for entry, wire in read_entries(document["manifests"])
        if (new := replaced.get(entry.descriptor.digest)) is not None
    ]
    return _write(document)


def make_index(members: Mapping[Platform, Descriptor]) -> bytes:
    """Return an index of exactly `members`, of their own family where they agree on one, else an OCI index."""
    families = {Family.of(descriptor.media_type) for descriptor in members.values()}
    media_type = families.pop().index if len(families) == 1 else OCI_INDEX
    entries = [
        descriptor.as_json() | {"platform": _platform(platform)} for platform, descriptor in sorted(members.items())
    ]
    return _write({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})


def _platform(platform: Platform) -> dict[str, str]:
    members = {"architecture": platform.architecture, "os": platform.os}
    return members | ({"variant": platform.variant} if platform.variant else {})


def _write(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
