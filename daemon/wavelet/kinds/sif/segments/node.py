"""The segment of a layer, as a node: the content of an image, and how it is compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from wavelet.archive.squashfs.codecs import Codec
from wavelet.image.image import Content, Descriptor, FromLocation, FromUpstream, MadeBy, Source
from wavelet.image.reference import Digest, Repository
from wavelet.plan.node import Node, View


@dataclass(frozen=True, slots=True)
class LayerSegment(Node):
    """The segment of `layer`, a layer of any image. It belongs to whomever that belongs to."""

    tag = "segment"
    is_composite = True

    layer: Content
    codec: Codec

    @property
    def repository(self) -> Repository | None:
        """See `Node`."""
        source = self.layer.source
        return source.repository if isinstance(source, FromUpstream) else None

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. What is said of the layer besides its digest is of no matter for the bytes."""
        layer, codec = self.layer.descriptor, self.codec
        value: dict[str, Any] = {"segment": str(layer.digest), "codec": [codec.name, codec.implementation, codec.level]}
        if view is not View.RECORD:
            return value | {"origin": self.layer.source.origin}
        urls = {"urls": list(layer.urls)} if layer.urls else {}
        return value | {"mediaType": layer.media_type, "size": layer.size} | urls | _source(self.layer.source)

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        digest, urls = Digest.parse(value["segment"]), tuple(map(str, value.get("urls", ())))
        layer = Descriptor(str(value["mediaType"]), digest, int(value["size"]), urls)
        name, implementation, level = value["codec"]
        if name not in ("gzip", "zstd"):
            raise ValueError(f"there is no codec {name!r}")
        return cls(Content(layer, _read_source(value)), Codec(name, str(implementation), int(level)))


def _source(source: Source) -> dict[str, str]:
    if isinstance(source, FromUpstream):
        return {"repository": str(source.repository)}
    if isinstance(source, FromLocation):
        return {"location": source.location, "diffId": str(source.diff_id)}
    assert isinstance(source, MadeBy), "only SIF files are joined, and those have no layers"
    return {"madeBy": source.key}


def _read_source(value: Mapping[str, Any]) -> Source:
    if "repository" in value:
        return FromUpstream(Repository(*value["repository"].split("/", 1)))
    if "location" in value:
        return FromLocation(str(value["location"]), Digest.parse(value["diffId"]))
    return MadeBy(str(value["madeBy"]))
