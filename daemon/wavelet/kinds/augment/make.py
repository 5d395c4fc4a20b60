"""The maker of augmented images: runs `image.augment` over one manifest, or over every image of an index."""

from __future__ import annotations

from collections.abc import Iterable

from wavelet.concurrency import gather_all
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.augment import AddedLayer, Addition, augment_index, augment_manifest
from wavelet.image.image import (
    Content,
    Descriptor,
    Image,
    Index,
    MalformedManifest,
    Manifest,
    parse_config,
)
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.attached import attached_anew
from wavelet.kinds.augment.certificates import java_variable
from wavelet.kinds.augment.fitting import Below, fitted
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.kind import Work, added, read_document
from wavelet.plan.node import Node, title


async def make(plan: AugmentedImage, work: Work) -> Image:
    """Return the augmented image.

    Raises:
        ImageNotFound: an index without any image, or an included image lacks a platform.
        InvalidRequest: too many layers.
        UpstreamBroken: the base's documents are not an image's.
    """
    base = await work.realise(plan.base)
    contents = await gather_all(work.layer(layer) for layer in plan.config.layers)
    maker = _Augmentation(plan, work, list(map(added, plan.config.layers, contents)), contents)
    data, view = await read_document(work, base.closure[base.descriptor.digest])
    if isinstance(view, Manifest):
        return await maker.one(base, data, view)
    return await maker.all(base, data, view)


class _Augmentation:
    def __init__(self, plan: AugmentedImage, work: Work, layers: list[AddedLayer], contents: list[Content]) -> None:
        self._plan = plan
        self._work = work
        self._layers = layers
        self._name = title(plan)
        self._contents = {content.descriptor.digest: content for content in contents}

    async def all(self, base: Image, data: bytes, view: Index) -> Image:
        entries = [entry for entry in view.entries if entry.is_image]
        if not entries:
            raise ImageNotFound(f"{self._name} has no image to add to, only {len(view.entries)} other entries")
        images: dict[Digest, Image] = {}
        for entry in entries:
            # Each member is a plan of its own: what is remembered of one serves the other indexes that contain it.
            images[entry.descriptor.digest] = await self._work.realise(self._plan.of_member(entry))
        index = augment_index(data, {digest: image.descriptor for digest, image in images.items()})
        own = await self._work.keep(index, view.media_type)
        return Image.of(own.descriptor, [own, *(c for image in images.values() for c in image.contents)])

    async def one(self, base: Image, data: bytes, view: Manifest) -> Image:
        if view.config is None:
            raise UpstreamBroken(f"{self._name} is not an image: it has no configuration")
        config = await self._work.read(base.closure[view.config.digest])
        included, contents = await self._included()
        below = [base.closure[layer.digest] for layer in view.layers]
        # Not those of included images, which are fetched when they are pulled, and not before.
        named = [(layer, self._contents[layer.digest]) for layer in self._layers]
        try:
            document, parsed = parse_config(config)
            env = _variables((document.get("config") or {}).get("Env") or [])
            fitting = await fitted(Below(below, parsed.platform.architecture, env), named, self._work)
            contents |= {layer.digest: content for layer, content in fitting.layers}
            # Java reads one variable, and nobody's options may be lost.
            java = [java_variable(env, _variables(self._plan.config.env))] if fitting.has_certificates else []
            addition = self._addition([*(layer for layer, _ in fitting.layers), *included], java)
            made = augment_manifest(data, view.media_type, config, addition)
        except MalformedManifest as error:
            raise UpstreamBroken(f"{self._name}: {error}") from None
        new_manifest = await self._work.keep(made.manifest, made.media_type)
        new_config = await self._work.keep(made.config, made.config_media_type)
        replaced = {base.descriptor.digest, view.config.digest}
        kept = [
            await attached_anew(self._work, content, base.descriptor, new_manifest.descriptor)
            for content in base.contents
            if content.descriptor.digest not in replaced
        ]
        layers = [contents[layer.digest] for layer in made.layers]
        return Image.of(new_manifest.descriptor, [new_manifest, new_config, *kept, *layers])

    def _addition(self, layers: list[AddedLayer], env: list[str]) -> Addition:
        config = self._plan.config
        return Addition(
            tuple(layers),
            config.entrypoint,
            config.cmd,
            (*config.env, *env),
            config.working_dir,
            config.labels,
            self._plan.rules,
        )

    async def _included(self) -> tuple[list[AddedLayer], dict[Digest, Content]]:
        layers: list[AddedLayer] = []
        contents: dict[Digest, Content] = {}
        for include in self._plan.includes:
            image, view, diff_ids = await self._read_included(include)
            layers += [
                AddedLayer(layer.digest, layer.size, diff_id, layer.media_type)
                for layer, diff_id in zip(view.layers, diff_ids, strict=True)
            ]
            contents |= {layer.digest: image.closure[layer.digest] for layer in view.layers}
        return layers, contents

    async def _read_included(self, include: Node) -> tuple[Image, Manifest, tuple[Digest, ...]]:
        image = await self._work.realise(include)
        _, view = await read_document(self._work, image.closure[image.descriptor.digest])
        if isinstance(view, Index) or view.config is None:
            raise ImageNotFound(f"the included {title(include)} is not one image")
        _, diff_ids = await platform_and_layers(self._work, image, view.config)
        if len(diff_ids) != len(view.layers):
            name = title(include)
            raise UpstreamBroken(f"the included {name} names {len(view.layers)} layers and {len(diff_ids)} diff IDs")
        return image, view, diff_ids


def _variables(env: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in env)}


async def platform_and_layers(work: Work, image: Image, config: Descriptor) -> tuple[Platform, tuple[Digest, ...]]:
    """Return the platform that an image's configuration names, and its layers' diff IDs.

    Raises:
        UpstreamBroken: not an image's configuration.
    """
    try:
        _, parsed = parse_config(await work.read(image.closure[config.digest]))
    except MalformedManifest as error:
        raise UpstreamBroken(f"{config.digest}: {error}") from None
    return parsed.platform, parsed.diff_ids
