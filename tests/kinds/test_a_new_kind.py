"""A kind of its own is a row of the table that a daemon is handed: here, images made of one literal file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from lab import images
from lab.services import open_services
from wavelet.image.image import OCI_MANIFEST, Image
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.kind import Kind, Work
from wavelet.kinds.table import KINDS, Row
from wavelet.plan.node import ContainerConfig, Label, Node, View
from wavelet.plan.tokens import NOBODY
from wavelet.requests.request import About, Request


@dataclass(frozen=True, slots=True)
class LiteralFile(Node):
    tag = "file"
    label = Label("file/motd", "latest")

    text: str

    def write(self, view: View) -> dict[str, Any]:
        return {"file": self.text}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        return cls(value["file"])


class LiteralFiles(Kind[LiteralFile]):
    node = LiteralFile

    async def make(self, node: LiteralFile, work: Work) -> Image:
        made = images.image([images.layer({"etc/motd": node.text.encode()})], family=images.OCI)
        below = [await work.keep(blob, "") for blob in made.blobs.values()]
        own = await work.keep(made.document, OCI_MANIFEST)
        return Image.of(own.descriptor, [own, *below])


TABLE = (*KINDS, Row(LiteralFile, lambda _: LiteralFiles()))
FILE = LiteralFile("hello\n")
AUGMENTED = AugmentedImage(FILE, ContainerConfig(env=("A=1",)))
INDEX = ImageIndex(((Platform.parse("amd64"), AUGMENTED),))


@pytest.mark.parametrize("plan", [FILE, AUGMENTED, INDEX], ids=["alone", "augmented", "in an index"])
async def test_it_is_asked_for_made_and_pulled_by_its_name_after_a_restart_too(plan: Node, tmp_path: Path) -> None:
    async with open_services(tmp_path, TABLE) as (services, _):
        request = Request.of(plan, NOBODY, About(api="test", image=""))
        token = (await services.requests.submissions.submit(request)).request.token
        _, made = await services.resolver.realise(plan, NOBODY)
    async with open_services(tmp_path, TABLE) as (_, client):
        data = await (await client.get(f"/v2/wt/{token}/file/motd/manifests/latest")).read()
        assert Digest.of(data) == made.descriptor.digest
        document = json.loads(data)
        if "manifests" in document:
            member = document["manifests"][0]["digest"]
            document = json.loads(await (await client.get(f"/v2/wt/{token}/file/motd/manifests/{member}")).read())
        blob = await client.get(f"/v2/wt/{token}/file/motd/blobs/{document['layers'][0]['digest']}")
        assert await blob.read() == images.layer({"etc/motd": b"hello\n"}).blob
