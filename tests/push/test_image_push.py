"""The push of what a node makes: its whole closure, with what was made along with it, from wherever it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from doubles.registry import Registry as Double
from lab import images
from lab.http import Answer, get
from lab.node import Node, registry_plan
from lab.processes import run
from lab.registry import Registry
from wavelet.errors import InvalidRequest, WaveletError
from wavelet.image.image import OCI_INDEX, OCI_MANIFEST, Content, Descriptor, Image, MadeBy
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.compose import sbom
from wavelet.kinds.conda.compose.attachments import EMPTY, EMPTY_DESCRIPTOR, Attachment, referrer_of
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig
from wavelet.plan.node import Node as Plan
from wavelet.plan.tokens import NOBODY
from wavelet.push.image_push import ImagePusher
from wavelet.push.progress import CopyProgress

pytestmark = pytest.mark.registry

MADE = MadeBy("made")
ENV = ContainerConfig(env=("A=1",))


def target_of(registry: Registry, path: str = "frozen/tool", tag: str = "1") -> Reference:
    return Reference(Repository(registry.host, path), tag)


async def document(registry: Registry, path: str, name: str) -> Answer:
    url = f"{registry.url}/v2/{path}/manifests/{name}"
    return await asyncio.to_thread(get, url, accept=", ".join(images.MANIFEST_TYPES))


async def made(node: Node, layers: Sequence[bytes]) -> Image:
    """Make an image of layers in the node's store, with a bill of materials, as those of packages have."""

    async def keep(data: bytes, media_type: str) -> Content:
        digest = Digest.of(data)
        await node.store.add(data, digest, MADE.origin)
        return Content(Descriptor(media_type, digest, len(data)), MADE)

    config = await keep(b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}', "config")
    kept = [await keep(data, "application/vnd.oci.image.layer.v1.tar") for data in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor.as_json(),
        "layers": [each.descriptor.as_json() for each in kept],
    }
    own = await keep(json.dumps(manifest).encode(), OCI_MANIFEST)
    materials = Attachment(sbom.MEDIA_TYPE, sbom.MEDIA_TYPE, b'{"bomFormat":"CycloneDX"}')
    bill = await keep(materials.document, materials.media_type)
    referrer = await keep(referrer_of(own.descriptor, materials), OCI_MANIFEST)
    empty = await keep(EMPTY, EMPTY_DESCRIPTOR.media_type)
    return Image.of(own.descriptor, [own, config, *kept, referrer, bill, empty])


async def test_bills_of_materials_go_along(node: Node, pusher: ImagePusher, target: Registry) -> None:
    image = await made(node, [b"one" * 100, b"two" * 100_000])
    seen: list[CopyProgress] = []
    await pusher.push(image, target_of(target), NOBODY, seen.append)
    assert (await document(target, "frozen/tool", "1")).headers["docker-content-digest"] == image.descriptor.digest
    listed = await document(target, "frozen/tool", f"sha256-{image.descriptor.digest.hex}")
    (entry,) = listed.json()["manifests"]
    assert entry["artifactType"] == "application/vnd.cyclonedx+json"
    assert (await document(target, "frozen/tool", entry["digest"])).status == 200
    assert seen[-1].bytes_done == seen[-1].bytes_needed > 300_000


async def test_asked_again_one_question_answers(node: Node, pusher: ImagePusher, target: Registry) -> None:
    image = await made(node, [b"layer"])
    await pusher.push(image, target_of(target), NOBODY)
    before = [target.count("/v2/", method) for method in ("HEAD", "GET", "PUT", "POST", "PATCH")]
    await pusher.push(image, target_of(target), NOBODY)
    after = [target.count("/v2/", method) for method in ("HEAD", "GET", "PUT", "POST", "PATCH")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 0, 0, 0, 0]


async def test_however_many_ask_each_blob_is_sent_once(node: Node, pusher: ImagePusher, target: Registry) -> None:
    image = await made(node, [bytes([number]) * 1_000_000 for number in range(3)])
    await asyncio.gather(*(pusher.push(image, target_of(target, tag=str(tag)), NOBODY) for tag in range(5)))
    assert target.count("/blobs/uploads/", "POST") == 6
    for tag in range(5):
        assert (await document(target, "frozen/tool", str(tag))).status == 200


async def test_a_base_of_the_same_registry_is_mounted(node: Node, pusher: ImagePusher, target: Registry) -> None:
    base = images.busybox(images.random_layer(1, 3), family=images.OCI)
    await asyncio.to_thread(target.push, "lab/base", "1", base)
    await _push(node, pusher, AugmentedImage(registry_plan(target.host, "lab/base"), ENV), target_of(target))
    shown = (await document(target, "frozen/tool", "1")).json()
    assert [each["digest"] for each in shown["layers"]] == [each["digest"] for each in base.json()["layers"]]
    assert target.count("/lab/base/blobs/" + shown["layers"][0]["digest"]) == 0, "layers are not fetched either"


async def _push(node: Node, pusher: ImagePusher, plan: Plan, target: Reference) -> Image:
    _, image = await node.resolver.realise(plan, NOBODY)
    await pusher.push(image, target, NOBODY)
    return image


@pytest.mark.crane
async def test_layers_of_a_base_are_followed_while_they_come(
    node: Node, pusher: ImagePusher, double: Double, target: Registry
) -> None:
    layers = [images.random_layer(2, 7).blob, images.random_layer(2, 8).blob]
    double.add_image("lab/tool", "1", layers)
    double.fault("/blobs/", rate=4_000_000)
    seen: list[CopyProgress] = []
    _, image = await node.resolver.realise(AugmentedImage(registry_plan(double.host, "lab/tool"), ENV), NOBODY)
    await pusher.push(image, target_of(target), NOBODY, seen.append)
    assert double.count("GET", "/blobs/") == 3, "the configuration, and each layer once"
    assert any(0 < each.bytes_done < each.bytes_needed / 2 for each in seen), "it is sent before it is there"
    name = f"{target.host}/frozen/tool:1"
    await asyncio.to_thread(run, ["crane", "validate", "--insecure", "--remote", name])


async def test_an_image_of_a_registry_keeps_its_digest_with_all_platforms(
    node: Node, pusher: ImagePusher, double: Double, target: Registry
) -> None:
    platforms = [double.add_image("lab/tool", None, platform=each) for each in ("linux/amd64", "linux/arm64")]
    digest = double.add_index("lab/tool", "1", platforms)
    image = await _push(node, pusher, RegistryImage(Reference.parse(f"{double.host}/lab/tool:1")), target_of(target))
    assert image.descriptor.digest == digest
    shown = await document(target, "frozen/tool", "1")
    assert shown.headers["docker-content-digest"] == digest
    for member in shown.json()["manifests"]:
        assert (await document(target, "frozen/tool", member["digest"])).status == 200


async def test_an_index_that_was_made_here(node: Node, pusher: ImagePusher, double: Double, target: Registry) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    double.add_index("lab/tool", "1", [double.add_image("lab/tool", None, platform=each) for each in platforms])
    reference = Reference.parse(f"{double.host}/lab/tool:1")
    members = [
        (Platform.parse(each), AugmentedImage(RegistryImage(reference, Platform.parse(each)), ENV))
        for each in platforms
    ]
    image = await _push(node, pusher, ImageIndex(tuple(members)), target_of(target))
    shown = await document(target, "frozen/tool", "1")
    assert (image.descriptor.media_type, len(shown.json()["manifests"])) == (OCI_INDEX, 2)


async def test_a_target_that_names_another_digest(node: Node, pusher: ImagePusher, target: Registry) -> None:
    image = await made(node, [b"layer"])
    other = Reference(Repository(target.host, "frozen/tool"), digest=Digest("sha256:" + "0" * 64))
    with pytest.raises(InvalidRequest, match="cannot be the name"):
        await pusher.push(image, other, NOBODY)


async def test_what_cannot_be_had_fails_and_names_nothing(
    node: Node, pusher: ImagePusher, double: Double, target: Registry
) -> None:
    tool = double.add_image("lab/tool", "1", [images.random_layer(1, 9).blob])
    _, image = await node.resolver.realise(AugmentedImage(registry_plan(double.host, "lab/tool"), ENV), NOBODY)
    double.remove("lab/tool", tool["layers"][0])
    with pytest.raises(WaveletError, match=tool["layers"][0]):
        await pusher.push(image, target_of(target), NOBODY)
    assert (await document(target, "frozen/tool", "1")).status == 404
