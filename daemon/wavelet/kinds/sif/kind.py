"""The kind of SIFs: an image's layers as segments, and what is put around them, in a manifest as ORAS has it.

The bytes of the file are those of its parts, one after the other (`Joined`): segments lie on the disk once, whatever
stands on them. An image that is a SIF already stays what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from wavelet.archive.squashfs.codecs import Codec, installed
from wavelet.concurrency import gather_all
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.image import (
    DOCKER_CONFIG,
    OCI_CONFIG,
    OCI_MANIFEST,
    Content,
    Descriptor,
    Image,
    Joined,
    MalformedManifest,
    Manifest,
    parse_config,
)
from wavelet.kinds.kind import Kind, Preparation, Work, read_document
from wavelet.kinds.sif.compose.compose import Composed, SegmentFiles, compose
from wavelet.kinds.sif.manifest import EMPTY_CONFIG, SIF_CONFIG, SIF_LAYER, file_in, sif_manifest
from wavelet.kinds.sif.node import SifImage
from wavelet.kinds.sif.segments.node import LayerSegment
from wavelet.plan.node import title

PART = "application/vnd.wavelet.sif.part.v1"
"""The type of what is put around segments."""


AT_ONCE = 16
"""Segments of one image that are made at a time; each compresses in several threads."""


class SifImages(Kind[SifImage]):
    """See the module."""

    node = SifImage
    preparation = Preparation.BUILT
    has_log = True

    async def make(self, node: SifImage, work: Work) -> Image:
        """See `Kind`.

        Raises:
            ImageNotFound: there is no image for the platform.
            UpstreamBroken: it is no image, or none that fits into a SIF.
        """
        image = await work.realise(node.image.for_platform(node.platform))
        _, view = await read_document(work, image.closure[image.descriptor.digest])
        name = title(node.image)
        if not isinstance(view, Manifest) or view.config is None:
            raise ImageNotFound(f"{name} is not one image for {node.platform}, of which a SIF could be made")
        if file_in(view) is not None:
            return image
        if view.config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
            raise ImageNotFound(f"{name} is no container image: its configuration is {view.config.media_type[:200]}")
        config = await work.read(image.closure[view.config.digest])
        _check_platform(config, node, name)
        layers = [image.closure[layer.digest] for layer in view.layers]
        segments = await _segments(layers, installed(node.codec), work)
        return await _composed(node, image, config, [_parts(segment) for segment in segments], work)


async def _segments(layers: Sequence[Content], codec: Codec, work: Work) -> list[Image]:
    """Return the segments of layers. Each that is being made has room set aside, so that not all are at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def segment(layer: Content) -> Image:
        async with places:
            return await work.realise(LayerSegment(layer, codec))

    return await gather_all(map(segment, layers))


def _check_platform(config: bytes, node: SifImage, name: str) -> None:
    try:
        _, parsed = parse_config(config)
    except MalformedManifest as error:
        raise UpstreamBroken(f"{name}: {error}") from None
    if parsed.names_platform and parsed.platform.architecture != node.platform.architecture:
        raise ImageNotFound(f"{name} is for {parsed.platform}, not for {node.platform}")


def _parts(segment: Image) -> tuple[Content, Content]:
    """Return a segment's index and its data."""
    index, data = segment.contents
    return index, data


async def _composed(
    node: SifImage, image: Image, config: bytes, segments: Sequence[tuple[Content, Content]], work: Work
) -> Image:
    """Return the SIF of segments, the lowest first."""
    files = [
        SegmentFiles(await work.path(index), await work.path(data), data.descriptor.size) for index, data in segments
    ]
    room = _ROOM + _ROOM_PER_INDEX * sum(index.descriptor.size for index, _ in segments)
    async with work.scratch(room) as scratch:
        arguments = (files, config, node.platform.architecture, installed(node.codec), scratch)
        made: Composed = await work.run(compose, *arguments)
        head, tail = [
            await work.adopt(Path(part.path), Descriptor(PART, part.digest, part.size), derived=True)
            for part in (made.head, made.tail)
        ]
    parts = (head, *(data for _, data in segments if data.descriptor.size), tail)
    whole = Content(Descriptor(SIF_LAYER, made.digest, made.size), Joined(parts))
    own_config = await work.keep(EMPTY_CONFIG, SIF_CONFIG)
    document = await work.keep(sif_manifest(whole.descriptor), OCI_MANIFEST)
    unique = dict.fromkeys((*parts, *(index for index, _ in segments)))
    work.report(f"{len(segments)} layers in a SIF of {made.size} bytes")
    return Image.of(document.descriptor, [document, own_config, whole, *unique], image.upstreams)


_ROOM = 4 * 1024 * 1024
_ROOM_PER_INDEX = 4
"""Bytes of tables for a byte of an index: an entry of one is longer than what is written of it."""
