"""The mirror between real registries: everything arrives as it is, and what is there already is not sent."""

from __future__ import annotations

import asyncio

import pytest

from lab import images
from lab.engines import skopeo
from lab.http import Answer, get
from lab.node import Node
from lab.processes import run
from lab.registry import Registry
from lab.release import push_release
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.push.copy import CopyResult
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress

pytestmark = pytest.mark.registry


def reference(registry: Registry, repository: str, tag: str | None = "1", digest: str = "") -> Reference:
    return Reference(Repository(registry.host, repository), tag, Digest(digest) if digest else None)


async def document(registry: Registry, repository: str, name: str) -> Answer:
    url = f"{registry.url}/v2/{repository}/manifests/{name}"
    return await asyncio.to_thread(get, url, accept=", ".join(images.MANIFEST_TYPES))


async def test_platforms_signatures_and_referrers_arrive_as_they_are(
    mirror: Mirror, origin: Registry, target: Registry
) -> None:
    release = await asyncio.to_thread(push_release, origin, "lab/tool")
    seen: list[CopyProgress] = []
    source, there = reference(origin, "lab/tool", digest=release.digest), reference(target, "mirrored/lab/tool", "1")
    planned = await mirror.plan(source, there, NOBODY)
    result = await mirror.copy(source, there, NOBODY, seen.append)
    assert result == planned
    assert result.digest == release.digest and seen[-1].bytes_done == result.bytes == seen[-1].bytes_needed
    for tag in ("1", f"sha256-{release.digest[7:]}.sig"):
        copied = await document(target, "mirrored/lab/tool", tag)
        assert copied.status == 200 and copied.body == (await document(origin, "lab/tool", tag)).body
    fallback = f"sha256-{release.members[0].digest[7:]}"
    listing = (await document(target, "mirrored/lab/tool", fallback)).json()
    assert [each["artifactType"] for each in listing["manifests"]] == ["application/x-bill"]
    bill = await document(target, "mirrored/lab/tool", listing["manifests"][0]["digest"])
    assert bill.json()["subject"]["digest"] == release.members[0].digest


@pytest.mark.skopeo
@pytest.mark.crane
@pytest.mark.parametrize("family", [images.OCI, images.DOCKER])
async def test_skopeo_and_crane_find_what_they_would_have_copied(
    mirror: Mirror, origin: Registry, target: Registry, family: str
) -> None:
    name = await asyncio.to_thread(origin.push, "lab/tool", "1", images.two_architectures(family))
    digest = (await asyncio.to_thread(run, ["crane", "digest", "--insecure", name])).stdout.strip()
    await mirror.copy(reference(origin, "lab/tool", digest=digest), reference(target, "lab/tool"), NOBODY)
    theirs = f"docker://{target.host}/by/skopeo:1"
    tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    await asyncio.to_thread(skopeo, "copy", "--quiet", "--all", *tls, f"docker://{name}", theirs)
    for path in ("lab/tool", "by/skopeo"):
        shown = await asyncio.to_thread(run, ["crane", "digest", "--insecure", f"{target.host}/{path}:1"])
        assert shown.stdout.strip() == digest
    await asyncio.to_thread(run, ["crane", "validate", "--insecure", "--remote", f"{target.host}/lab/tool:1"])


async def test_asked_again_the_target_is_asked_once(mirror: Mirror, origin: Registry, target: Registry) -> None:
    """The source is not asked at all, and may be away."""
    release = await asyncio.to_thread(push_release, origin, "lab/tool")
    source, there = reference(origin, "lab/tool", digest=release.digest), reference(target, "lab/tool")
    await mirror.copy(source, there, NOBODY)
    await asyncio.to_thread(origin.stop)
    before = [target.count("/v2/", method) for method in ("HEAD", "GET", "PUT", "POST", "PATCH")]
    assert await mirror.copy(source, there, NOBODY) == CopyResult(Digest(release.digest))
    after = [target.count("/v2/", method) for method in ("HEAD", "GET", "PUT", "POST", "PATCH")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 0, 0, 0, 0]


async def test_a_second_image_sends_what_it_does_not_share(mirror: Mirror, origin: Registry, target: Registry) -> None:
    """Also into another repository of the registry, which has it from the first one."""
    shared = [images.random_layer(0.5, seed) for seed in range(9)]
    made = [images.image([*shared, images.random_layer(0.5, seed)]) for seed in (20, 21, 22)]
    for number, image in enumerate(made):
        await asyncio.to_thread(origin.push, "lab/tool", str(number), image)
    results = [
        await mirror.copy(reference(origin, "lab/tool", digest=image.digest), reference(target, path), NOBODY)
        for image, path in zip(made, ("lab/tool", "lab/tool", "lab/other"), strict=True)
    ]
    assert results[0].bytes > 5_000_000
    assert all(0 < later.bytes <= 0.12 * results[0].bytes for later in results[1:])


async def test_what_is_in_the_store_is_not_fetched(
    node: Node, mirror: Mirror, origin: Registry, target: Registry
) -> None:
    image = images.busybox(images.random_layer(1, 5))
    await asyncio.to_thread(origin.push, "lab/tool", "1", image)
    place = Repository(origin.host, "lab/tool")
    for digest, data in image.blobs.items():
        await node.store.add(data, Digest(digest), str(place))
    result = await mirror.copy(
        reference(origin, "lab/tool", digest=image.digest), reference(target, "lab/tool"), NOBODY
    )
    assert result.blobs == len(image.blobs) and origin.count("/blobs/") == 0


async def test_an_image_is_not_copied_to_itself(mirror: Mirror, origin: Registry) -> None:
    source = reference(origin, "lab/tool", digest="sha256:" + "0" * 64)
    with pytest.raises(InvalidRequest, match=r"wave.build.repository"):
        await mirror.copy(source, reference(origin, "lab/tool", "2"), NOBODY)


async def test_what_images_have_in_common_is_sent_once_though_they_are_copied_at_one_time(
    mirror: Mirror, origin: Registry, target: Registry
) -> None:
    common = images.random_layer(2, seed=9)
    copies = []
    for name in ("one", "two", "three"):
        made = images.image([common, images.layer({name: name.encode()})], family=images.OCI)
        await asyncio.to_thread(origin.push, f"lab/{name}", "1", made)
        source = reference(origin, f"lab/{name}", digest=made.digest)
        copies.append(mirror.copy(source, reference(target, f"copies/{name}"), NOBODY))
    sent = await asyncio.gather(*copies)
    assert sum(each.bytes for each in sent) < 1.1 * 2 * 1024 * 1024
    for name in ("one", "two", "three"):
        assert (await document(target, f"copies/{name}", "1")).status == 200
