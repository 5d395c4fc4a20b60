"""A kind of SIFs in place of the real one: a file of three parts, of which one can tell what it was made of."""

from __future__ import annotations

from wavelet.image.image import OCI_MANIFEST, Descriptor, Image, Joined
from wavelet.image.image import Content as Member
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Kind, Work, read_document
from wavelet.kinds.sif.manifest import EMPTY_CONFIG, SIF_CONFIG, SIF_LAYER, file_in, sif_manifest
from wavelet.kinds.sif.node import SifImage
from wavelet.kinds.table import KINDS, Row, Table

PART = 12 * 1024 * 1024
"""Bytes of the part in the middle: more than what is on its way to a client who does not read."""


def file_of(image: str, platform: str, codec: str) -> bytes:
    """Return the file that is made of the image with a digest."""
    return b"".join(_parts(image, platform, codec))


def _parts(image: str, platform: str, codec: str) -> list[bytes]:
    return [f"head {platform} {codec} ".encode(), image.encode().ljust(PART, b"."), b" tail"]


class JoinedSifs(Kind[SifImage]):
    """See the module. What is a SIF already stays as it is."""

    node = SifImage

    async def make(self, node: SifImage, work: Work) -> Image:
        """See `Kind`."""
        image = await work.realise(node.image)
        _, view = await read_document(work, image.closure[image.descriptor.digest])
        if file_in(view) is not None:
            return image
        data = _parts(image.descriptor.digest, str(node.platform), node.codec)
        parts = [await work.keep(each, "application/octet-stream") for each in data]
        whole = b"".join(data)
        file = Member(Descriptor(SIF_LAYER, Digest.of(whole), len(whole)), Joined(tuple(parts)))
        config = await work.keep(EMPTY_CONFIG, SIF_CONFIG)
        own = await work.keep(sif_manifest(file.descriptor, "double.sif"), OCI_MANIFEST)
        return Image.of(own.descriptor, [own, config, file, *parts], image.upstreams)


TABLE: Table = (*(row for row in KINDS if row.node is not SifImage), Row(SifImage, lambda _: JoinedSifs()))
"""The kinds of a daemon with this one."""
