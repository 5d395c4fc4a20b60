"""The kind of segments: a layer is fetched, compressed anew in a worker process, and data and index are taken in."""

from __future__ import annotations

import time
from pathlib import Path

from wavelet.archive.layer_writer import Outgrown
from wavelet.archive.squashfs.codecs import installed
from wavelet.errors import NotServed, UpstreamBroken
from wavelet.image.image import Content, Descriptor, Image
from wavelet.kinds.kind import Kind, Work
from wavelet.kinds.sif.segments.index import INDEX, SEGMENT
from wavelet.kinds.sif.segments.maker import DATA, TABLE, Made, make_segment
from wavelet.kinds.sif.segments.node import LayerSegment

GROWTHS = 1.5, 5, 40, 1000
"""How many times a layer's size its segment may have, tried in turn: layers may be compressed harder than segments."""

LEAST = 8 * 1024 * 1024
"""Bytes that are set aside besides: a layer of many small files is smaller than the tables that these are sorted in."""


class LayerSegments(Kind[LayerSegment]):
    """See the module."""

    node = LayerSegment

    async def make(self, node: LayerSegment, work: Work) -> Image:
        """Return the index as an image's descriptor, and the data.

        Raises:
            UpstreamBroken: the layer is no tar, is damaged, or is none that could be unpacked.
            NoSpace: there is no room for the segment.
            NotServed: this node's library compresses otherwise than the one with which the segment is asked for.
        """
        if node.codec.implementation != installed(node.codec.name).implementation:
            raise NotServed(
                f"this SIF is compressed by {node.codec.implementation}, and this node has"
                f" {installed(node.codec.name).implementation}; ask for it anew"
            )
        begun = time.monotonic()
        layer = node.layer.descriptor
        path = await work.path(node.layer)
        made, contents = await _written(node, path, work)
        taken = time.monotonic() - begun
        work.report(f"{layer.digest}: {layer.size} bytes as a segment of {made.data.size}, made in {taken:.1f} s")
        return Image.of(contents[0].descriptor, contents, [node.repository] if node.repository else [])

    def item(self, node: LayerSegment) -> str:
        """See `Kind`."""
        return str(node.layer.descriptor.digest)


async def _written(node: LayerSegment, path: Path, work: Work) -> tuple[Made, tuple[Content, Content]]:
    layer = node.layer.descriptor
    for growth in GROWTHS:
        room = int(growth * layer.size) + LEAST
        try:
            async with work.scratch(room) as scratch:
                made = await work.run(make_segment, path, str(layer.digest), scratch, node.codec, room)
                index = await work.adopt(scratch / TABLE, Descriptor(INDEX, *made.table), derived=True)
                data = await work.adopt(scratch / DATA, Descriptor(SEGMENT, *made.data), derived=True)
                return made, (index, data)
        except Outgrown:
            continue
    raise UpstreamBroken(
        f"the layer {layer.digest}: its segment has more than {GROWTHS[-1]:.0f} times its {layer.size} bytes"
    )
