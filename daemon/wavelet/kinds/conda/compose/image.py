"""The maker of images of locked packages: layers that are there already are put together; only the rest is made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.config import parse_config
from wavelet.image.image import Content, Image
from wavelet.image.manifest import MalformedManifest, Manifest
from wavelet.kinds.conda.compose import image_documents, made_parts, sbom, sbom_components, sbom_referrer
from wavelet.kinds.conda.compose.image_layers import Layer, Parts, stacked
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.registry_image.make import absent
from wavelet.kinds.work import Work, read_document
from wavelet.sizes import size as size_of


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
        raise absent(name, plan.platform, str(parsed.platform))
    if len(parsed.diff_ids) != len(view.layers):
        raise UpstreamBroken(f"{name} names {len(view.layers)} layers and {len(parsed.diff_ids)} diff IDs")
    return _Base(image, data, view, config, view.config.media_type)


async def _finish(plan: LockedEnvironment, work: Work, base: _Base, every: Parts, layers: list[Layer]) -> Image:
    placed = [layer.placed for layer in layers]
    config = await work.keep(
        image_documents.config(base.config, placed, plan, every.environment), base.config_media_type
    )
    data = image_documents.manifest(base.data, base.view, config.descriptor, placed, plan)
    manifest = await work.keep(data, base.view.media_type)
    materials = sbom.document(sbom_components.components(every.packages, every.wheels))
    bom = await sbom_referrer.attach(work, manifest.descriptor, materials)
    return Image.of(manifest.descriptor, [manifest, config, *base.layers, *(layer.content for layer in layers), *bom])
