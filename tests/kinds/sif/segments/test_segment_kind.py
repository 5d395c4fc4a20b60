"""Segments are made by a daemon's services, of content that is made again if need be, and refused in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest
from segment_lab import link, member, packed

from lab.services import open_services
from wavelet.archive.squashfs.codecs import GZIP
from wavelet.errors import NotServed, UpstreamBroken
from wavelet.front.grpc.services import Services
from wavelet.image.image import Content, Image, MadeBy
from wavelet.kinds.kind import Kind, Work
from wavelet.kinds.sif.segments import kind as segments_kind
from wavelet.kinds.sif.segments.index import INDEX, SEGMENT, read_index
from wavelet.kinds.sif.segments.node import LayerSegment
from wavelet.kinds.table import KINDS, Row
from wavelet.plan.canonical import key
from wavelet.plan.node import Node, View
from wavelet.plan.tokens import NOBODY

pytestmark = pytest.mark.process

TAR = packed([member("a", data=b"first"), member("b", data=b"second" * 1000), link("c", "a")])


@dataclass(frozen=True, slots=True)
class KeptLayer(Node):
    tag = "kept"

    text: str

    def write(self, view: View) -> dict[str, Any]:
        return {"kept": self.text}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        return cls(value["kept"])


class KeptLayers(Kind[KeptLayer]):
    node = KeptLayer

    async def make(self, node: KeptLayer, work: Work) -> Image:
        content = await work.keep(node.text.encode("latin-1"), "application/vnd.oci.image.layer.v1.tar")
        return Image.of(content.descriptor, [content])


TABLE = (*KINDS, Row(KeptLayer, lambda _: KeptLayers()))


async def segment_of(services: Services, data: bytes) -> LayerSegment:
    """Have a layer, and return its segment's node."""
    _, image = await services.resolver.realise(KeptLayer(data.decode("latin-1")), NOBODY)
    return LayerSegment(image.contents[0], GZIP)


def blob(state: Path, content: Content) -> Path:
    """Return the file of content in a daemon's store."""
    (found,) = (state / "blobs").rglob(content.descriptor.digest.hex)
    return found


async def test_a_segment_is_an_index_and_data(tmp_path: Path) -> None:
    async with open_services(tmp_path, TABLE) as (services, _):
        node = await segment_of(services, TAR)
        made_key, image = await services.resolver.realise(node, NOBODY)
        assert made_key == key(node)
        index, data = image.contents
        assert image.descriptor == index.descriptor
        assert (index.descriptor.media_type, data.descriptor.media_type) == (INDEX, SEGMENT)
        assert {index.source, data.source} == {MadeBy(made_key)}
        with blob(tmp_path, index).open("rb") as file:
            header, entries = read_index(file)
            assert [entry.path for entry in entries] == [b"", b"a", b"b", b"c"]
        assert header.size == data.descriptor.size == blob(tmp_path, data).stat().st_size


async def test_a_layer_that_is_no_tar_is_told_by_its_digest(tmp_path: Path) -> None:
    async with open_services(tmp_path, TABLE) as (services, _):
        node = await segment_of(services, b"no tar at all")
        with pytest.raises(UpstreamBroken, match=f"the layer {node.layer.descriptor.digest} cannot be read"):
            await services.resolver.realise(node, NOBODY)


async def test_more_room_is_set_aside_where_the_first_was_not_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(segments_kind, "LEAST", 100)
    monkeypatch.setattr(segments_kind, "GROWTHS", (0, 1))
    async with open_services(tmp_path, TABLE) as (services, _):
        node = await segment_of(services, TAR)
        _, image = await services.resolver.realise(node, NOBODY)
        assert len(image.contents) == 2
        monkeypatch.setattr(segments_kind, "GROWTHS", (0,))
        with pytest.raises(UpstreamBroken, match="its segment has more than 0 times"):
            await services.resolver.realise(replace(node, codec=replace(GZIP, level=2)), NOBODY)


async def test_a_library_that_compresses_otherwise_makes_no_segment_of_this_name(tmp_path: Path) -> None:
    async with open_services(tmp_path, TABLE) as (services, _):
        node = replace(await segment_of(services, TAR), codec=replace(GZIP, implementation="libdeflate-0123"))
        with pytest.raises(NotServed, match=r"compressed by libdeflate-0123, and this node has libdeflate-1; ask"):
            await services.resolver.realise(node, NOBODY)
