"""The image of a locked environment: layers that are there already are put together; only the rest is made."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wavelet.concurrency import gather_all
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.image import Content, Descriptor, Family, Image, MalformedManifest, Manifest, parse_config
from wavelet.image.reference import Digest
from wavelet.kinds.conda.compose import environment_files, layering, made_parts, sbom, shared_layer
from wavelet.kinds.conda.compose.attachments import Attachment, attach
from wavelet.kinds.conda.compose.common_packages import layer_positions
from wavelet.kinds.conda.compose.layering import heaviest_first
from wavelet.kinds.conda.compose.made_parts import Part
from wavelet.kinds.conda.model.explicit_list import explicit as explicit_list
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, subdir_of
from wavelet.kinds.kind import Work, read_document
from wavelet.kinds.registry_image.make import absent
from wavelet.quantities import size as size_of

LOCK_TYPE = "application/vnd.wavelet.conda.explicit.v1"
"""The artifact type of the lock that is attached to an image. What it has is a text file, `@EXPLICIT`."""

LOCK_FILE = "explicit.txt"
"""What that file is called by those who fetch it by `oras pull`."""

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


def image_config(
    base: Mapping[str, Any], layers: Sequence[Placed], plan: LockedEnvironment, environment: Environment
) -> bytes:
    """Return the configuration: the base's with the layers, the environment, and labels saying what it is made of."""
    settings = dict(base.get("config") or {})
    settings["Env"] = environment_files.environment(
        settings.get("Env") or [], environment.variables, environment.scripts
    )
    entrypoint = environment_files.entrypoint(settings.get("Entrypoint") or [], environment.scripts)
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


def image_manifest(
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


_ROOM = 1024 * 1024
"""Bytes that a layer put together may have beyond its members'."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in its place, and where its bytes are."""

    placed: Placed
    content: Content


@dataclass(frozen=True, slots=True)
class Parts:
    """All that an image is put together of; packages come dependencies first."""

    packages: Sequence[Part]
    wheels: Sequence[Part]
    scripts: Part | None

    @property
    def environment(self) -> Environment:
        """What they want of the shell; of two that set a variable, the later one does."""
        variables: dict[str, str] = {}
        active: list[str] = []
        for part in (*self.packages, *self.wheels, *filter(None, [self.scripts])):
            variables |= part.info.env_vars
            active += [*part.info.files, *part.info.links] if part.info.has_activation else []
        return Environment(variables, environment_files.scripts_among(active))


async def stacked(plan: LockedEnvironment, parts: Parts, base_layers: int, work: Work) -> list[Layer]:
    """Return the layers from the bottom up.

    Raises:
        InvalidRequest: the base's layers leave no room.
    """
    others = 1 if parts.scripts is None else 2
    room = layering.budget(base_layers, others)
    every = [part for part in (*parts.packages, *parts.wheels) if part.has_paths]
    groups = await asyncio.to_thread(_few if plan.layers == "few" else _group, every, room, others)
    own, *made = await gather_all(
        [_own(plan, parts, work), *(_layer([every[n] for n in each.members], each.lost, work) for each in groups)]
    )
    scripts = parts.scripts
    changed = [] if scripts is None else [_placed(scripts.layer, scripts.info.diff_id, "post-link scripts")]
    return [*made, *changed, own]


def _group(every: Sequence[Part], room: int, _: int) -> list[layering.Group]:
    return layering.group([part.paths for part in every], _sequence(every), room)


def _few(every: Sequence[Part], room: int, others: int) -> list[layering.Group]:
    layers = min(room, layering.FEW - others)
    places = layer_positions([part.node for part in every], layers)
    return layering.few([part.paths for part in every], _sequence(every), places, layers)


def _sequence(every: Sequence[Part]) -> list[int]:
    """Return packages as they share best, then wheels, the heaviest first."""
    packages = {part.node.name: number for number, part in enumerate(every) if isinstance(part.of, Package)}
    wheels = sorted(set(range(len(every))) - {*packages.values()}, key=lambda number: -every[number].node.weight)
    sequence = [packages[name] for name in heaviest_first([every[number].node for number in packages.values()])]
    return [*sequence, *wheels]


async def _layer(members: Sequence[Part], lost: Sequence[frozenset[str]], work: Work) -> Layer:
    if len(members) == 1:
        part = members[0]
        annotations = {"org.opencontainers.image.title": part.title, "wavelet.purl": sbom.purl_of(part)}
        return _placed(part.layer, part.info.diff_id, part.title, annotations)
    content, diff_id = await _shared(members, lost, work)
    titles = ", ".join(part.title for part in members)
    says = f"{len(members)} packages"
    return _placed(
        content, diff_id, f"{says}: {titles}", {"org.opencontainers.image.title": says, "wavelet.contains": titles}
    )


async def _shared(members: Sequence[Part], lost: Sequence[frozenset[str]], work: Work) -> tuple[Content, str]:
    started = time.monotonic()
    gone = lost or [_NOTHING] * len(members)
    pieces = [
        shared_layer.Piece(await work.path(part.layer), part.info.fragment, left_out)
        for part, left_out in zip(members, gone, strict=True)
    ]
    # What one member loses is lost to it alone: its file may have had to make way for another's directory.
    directories = set().union(*(set(part.info.directories) - out for part, out in zip(members, gone, strict=True)))
    room = sum(part.info.size + (part.info.fragment.inflated if lost else 0) for part in members)
    async with work.scratch(room + _ROOM) as scratch:
        target = scratch / "layer"
        put_together = shared_layer.merge if lost else shared_layer.compose
        made: shared_layer.Composed = await work.run(put_together, target, sorted(directories), pieces)
        descriptor = Descriptor(Family.OCI.layer(), made.digest, made.size)
        content = await work.adopt(target, descriptor, derived=True)
    seconds = time.monotonic() - started
    work.report(f"{len(members)} packages in one layer: {made.size} bytes, put together in {seconds:.2f} s")
    return content, made.diff_id


async def _own(plan: LockedEnvironment, parts: Parts, work: Work) -> Layer:
    made = await asyncio.to_thread(_own_layer, plan, parts)
    return _placed(await work.keep(made.blob, Family.OCI.layer()), made.diff_id, environment_files.DIRECTORY)


def _own_layer(plan: LockedEnvironment, parts: Parts) -> environment_files.Layer:
    having = [(part.of, part.info) for part in parts.packages if isinstance(part.of, Package)]
    explicit = explicit_list((package for package, _ in having), subdir_of(plan.platform), plan.wheels).encode()
    history = environment_files.history(package for package, _ in having)
    scripts = parts.environment.scripts
    own = {
        environment_files.HISTORY: history,
        environment_files.EXPLICIT: explicit,
        environment_files.PROFILE: environment_files.profile(scripts),
    }
    return environment_files.layer(
        environment_files.records(having) | own, environment_files.files(scripts, Digest.of(explicit).hex[:12])
    )


def _placed(content: Content, diff_id: str, says: str, annotations: Mapping[str, str] | None = None) -> Layer:
    return Layer(Placed(content.descriptor, Digest(diff_id), says, annotations or {}), content)


async def make(plan: LockedEnvironment, work: Work) -> Image:
    """Return the image: the base's layers, those of packages and wheels, what scripts changed, and its own.

    Raises:
        ImageNotFound: the base is not an image for the platform.
        InvalidRequest: the base has too many layers, a package is named twice, or wheels have no Python.
        UpstreamBroken: the base's documents are not an image's.
    """
    started = time.monotonic()
    base = await _base(plan, work)
    packages = await made_parts.packages(plan, work)
    wheels = await made_parts.wheels(plan, work)
    every = Parts(packages, wheels, await made_parts.scripts(plan, packages, work))
    ready = time.monotonic()
    layers = await stacked(plan, every, len(base.view.layers), work)
    image = await _finish(plan, work, base, every, layers)
    size = sum(layer.content.descriptor.size for layer in layers)
    work.report(
        f"{len(packages)} packages and {len(wheels)} wheels, ready in {ready - started:.2f} s:"
        f" {len(layers)} layers of {size_of(size)} on {len(base.view.layers)} of the base,"
        f" put together in {time.monotonic() - ready:.2f} s"
    )
    return image


@dataclass(frozen=True)
class _Base:
    image: Image
    data: bytes
    view: Manifest
    config: dict[str, Any]
    config_media_type: str

    @property
    def layers(self) -> list[Content]:
        """What is left of the base in images on it."""
        return [self.image.closure[layer.digest] for layer in self.view.layers]


async def _base(plan: LockedEnvironment, work: Work) -> _Base:
    image = await work.realise(plan.base)
    data, view = await read_document(work, image.closure[image.descriptor.digest])
    name = plan.base.description.title
    if not isinstance(view, Manifest) or view.config is None:
        raise ImageNotFound(f"{name} is not an image for {plan.platform}")
    try:
        config, parsed = parse_config(await work.read(image.closure[view.config.digest]))
    except MalformedManifest as error:
        raise UpstreamBroken(f"{name}: {error}") from None
    if parsed.platform != plan.platform:
        raise absent(name, plan.platform, [parsed.platform])
    if len(parsed.diff_ids) != len(view.layers):
        raise UpstreamBroken(f"{name} names {len(view.layers)} layers and {len(parsed.diff_ids)} diff IDs")
    return _Base(image, data, view, config, view.config.media_type)


async def _finish(plan: LockedEnvironment, work: Work, base: _Base, every: Parts, layers: list[Layer]) -> Image:
    placed = [layer.placed for layer in layers]
    config = await work.keep(image_config(base.config, placed, plan, every.environment), base.config_media_type)
    data = image_manifest(base.data, base.view, config.descriptor, placed, plan)
    manifest = await work.keep(data, base.view.media_type)
    materials = sbom.document(sbom.components(every.packages, every.wheels))
    lock = Attachment(LOCK_TYPE, "text/plain", plan.explicit.encode(), title=LOCK_FILE)
    attached = await attach(work, manifest.descriptor, [Attachment(sbom.MEDIA_TYPE, sbom.MEDIA_TYPE, materials), lock])
    own = [manifest, config, *base.layers, *(layer.content for layer in layers), *attached]
    return Image.of(manifest.descriptor, own)
