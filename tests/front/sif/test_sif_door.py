"""SIFs by the registry's names and as files: the doors, with a kind whose files tell what they were made of."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from doubles.registry import Registry
from doubles.sifs import PART, TABLE, file_of
from lab.packs import NO_RULES
from lab.processes import wait_for
from lab.services import Client, open_services
from wavelet.engine.architecture import own_platform
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.services import Services
from wavelet.front.registry.own_names import OwnHosts
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.manifest import SIF_CONFIG, SIF_LAYER
from wavelet.kinds.sif.node import SifImage
from wavelet.plan.node import Node
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.requests.request import About, Request

OWN = str(own_platform())
OTHER = "linux/arm/v7"
OTHER_TAG = "1--linux-arm-v7"


@dataclass
class Site:
    """A daemon with its doors, and a registry that has `lab/tool:1` for two platforms."""

    registry: Registry
    services: Services
    client: Client
    index: str
    members: Mapping[str, str]

    @property
    def near(self) -> str:
        """The registry in names."""
        return self.registry.host.replace(":", "_")

    def file(self, platform: str = OWN, codec: str = "gzip") -> bytes:
        """The file of `lab/tool:1`."""
        return file_of(self.members[platform], platform, codec)

    def holds(self, data: bytes) -> bool:
        """Tell whether the store has these bytes."""
        return any((self.services.reloads.settings.state_directory / "blobs").rglob(sha256(data)[7:]))

    async def get(self, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        """GET a path; a header's `_` is written `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.get(path, headers=named)
        return response, await response.read()

    async def manifest(self, name: str, reference: str, **headers: str) -> dict[str, Any]:
        """Return the manifest that a name answers."""
        response, data = await self.get(f"/v2/{name}/manifests/{reference}", **headers)
        assert response.status == 200, data
        document: dict[str, Any] = json.loads(data)
        return document

    async def request(self, plan: Node) -> str:
        """Ask for a plan and return its token."""
        asked = Request.of(plan, NOBODY, About(api="test", image=""))
        return (await self.services.requests.submissions.submit(asked)).request.token


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(registry: Registry, state: Path) -> AsyncIterator[Site]:
    async with open_services(state, TABLE) as (services, client):
        images = [registry.add_image("lab/tool", None, platform=platform) for platform in (OWN, OTHER)]
        index = registry.add_index("lab/tool", "1", images)
        yield Site(registry, services, client, index, {image["platform"]: image["manifest"] for image in images})


@pytest.fixture
async def site(registry: Registry, tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(registry, tmp_path) as running:
        yield running


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image(site: Site, tag: str = "1") -> RegistryImage:
    return RegistryImage(Reference.parse(f"{site.registry.host}/lab/tool:{tag}"))


async def test_a_name_answers_its_image_as_a_sif_for_this_nodes_platform_or_that_of_the_tag(site: Site) -> None:
    name = f"sif/{site.near}/lab/tool"
    for tag, platform in (("1", OWN), (OTHER_TAG, OTHER)):
        manifest = await site.manifest(name, tag)
        assert manifest["config"]["mediaType"] == SIF_CONFIG
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == SIF_LAYER
        assert layer["digest"] == sha256(site.file(platform))
        response, data = await site.get(f"/v2/{name}/blobs/{layer['digest']}")
        assert (response.status, data) == (200, site.file(platform))
        response, data = await site.get(f"/v2/{name}/blobs/{manifest['config']['digest']}")
        assert (response.status, data) == (200, b"{}")
    # Both are there still: each tag is one more answer of the name.
    response, data = await site.get(f"/v2/{name}/blobs/{sha256(site.file())}", Range=f"bytes=10-{PART + 30}")
    assert (response.status, data) == (206, site.file()[10 : PART + 31])


async def test_a_manifest_is_found_by_its_digest_also_after_a_restart(registry: Registry, tmp_path: Path) -> None:
    async with opened(registry, tmp_path) as site:
        response, data = await site.get(f"/v2/sif/{site.near}/lab/tool/manifests/1")
        digest = response.headers["Docker-Content-Digest"]
        assert digest == sha256(data)
    async with opened(registry, tmp_path) as site:
        name = f"sif/{site.near}/lab/tool"
        response, again = await site.get(f"/v2/{name}/manifests/{digest}")
        assert again == data
        response, file = await site.get(f"/v2/{name}/blobs/{sha256(site.file())}")
        assert file == site.file()
        response, data = await site.get(f"/v2/{name}/manifests/sha256:{'0' * 64}")
        assert response.status == 404
        assert b"pull it by its tag first" in data


async def test_an_image_and_its_sif_are_names_apart(site: Site) -> None:
    image, sif = f"{site.near}/lab/tool", f"sif/{site.near}/lab/tool"
    of_image = await site.manifest(image, site.members[OWN])
    response, _ = await site.get(f"/v2/{sif}/manifests/1")
    own = response.headers["Docker-Content-Digest"]
    for name, kind, digest in [
        (image, "manifests", own),
        (image, "blobs", sha256(site.file())),
        (sif, "manifests", site.members[OWN]),
        (sif, "blobs", of_image["layers"][0]["digest"]),
        (f"sif/{site.near}/lab/other", "blobs", sha256(site.file())),
    ]:
        response, _ = await site.get(f"/v2/{name}/{kind}/{digest}")
        assert response.status == 404, (name, digest)


async def test_a_sif_has_the_tags_of_its_image_and_nothing_refers_to_it(site: Site) -> None:
    response, data = await site.get(f"/v2/sif/{site.near}/lab/tool/tags/list")
    assert json.loads(data) == {"name": f"sif/{site.near}/lab/tool", "tags": ["1"]}
    response, _ = await site.get(f"/v2/sif/{site.near}/lab/tool/manifests/1")
    digest = response.headers["Docker-Content-Digest"]
    response, data = await site.get(f"/v2/sif/{site.near}/lab/tool/referrers/{digest}")
    assert (response.status, json.loads(data)["manifests"]) == (200, [])


async def test_who_names_a_registry_that_does_not_answer_is_told_at_once(site: Site) -> None:
    async with asyncio.timeout(10):
        for path in ("/v2/sif/127.0.0.1_1/lab/tool/manifests/1", "/sif/127.0.0.1_1/lab/tool:1.sif"):
            response, _ = await site.get(path)
            assert response.status == 502


async def test_nothing_can_be_pushed_there(site: Site) -> None:
    for method, path in [("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1")]:
        response = await site.client.request(method, f"/v2/sif/local/tool/{path}")
        assert response.status == 405
        assert "nothing can be pushed to sif/local/tool" in (await response.json())["errors"][0]["message"]
    assert (await site.client.post("/sif/x:1.sif")).status == 405


async def test_what_is_not_there_is_said_as_the_registry_says_it(site: Site) -> None:
    for path in (f"/v2/sif/{site.near}/lab/tool/manifests/2", f"/sif/{site.near}/lab/tool:2.sif"):
        response, data = await site.get(path)
        assert response.status == 404
        assert json.loads(data)["errors"][0]["code"] == "MANIFEST_UNKNOWN"
        assert response.reason == json.loads(data)["errors"][0]["message"]
    response, _ = await site.get(f"/sif/x--{'0' * 32}.sif")
    assert response.status == 404
    response, data = await site.get(f"/sif/{site.near}/lab/tool:1--linux-arm-v5.sif")
    assert response.status == 404
    assert b"has no linux/arm/v5" in data


@pytest.mark.parametrize("ending", [":1.sif", ":1", "@{digest}.sif", "@{digest}"])
async def test_a_file_by_the_name_of_its_image(site: Site, ending: str) -> None:
    path = f"/sif/{site.near}/lab/tool" + ending.format(digest=site.members[OWN])
    response, data = await site.get(path)
    assert (response.status, data) == (200, site.file())
    assert response.headers["Docker-Content-Digest"] == sha256(data)
    assert response.headers["Content-Type"] == "application/octet-stream"
    shown = "tool_1.sif" if "1" in ending else f"tool_sha256-{site.members[OWN][7:19]}.sif"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{shown}"'


async def test_a_platform_stands_in_the_tag_or_in_the_query(site: Site) -> None:
    for path in (f":{OTHER_TAG}.sif", f":1.sif?platform={OTHER}", f"@{site.index}.sif?platform={OTHER}"):
        response, data = await site.get(f"/sif/{site.near}/lab/tool{path}")
        assert (response.status, data) == (200, site.file(OTHER)), path
    response, data = await site.get(f"/sif/{site.near}/lab/tool:{OTHER_TAG}.sif?platform=linux/arm64")
    assert response.status == 400
    assert b"where the tag says linux/arm/v7" in data


async def test_a_file_in_pieces_across_the_borders_of_its_parts(site: Site) -> None:
    path, whole = f"/sif/{site.near}/lab/tool:1.sif", site.file()
    response, _ = await site.get(path, Range="bytes=0-0")
    etag = response.headers["ETag"]
    assert etag == f'"{sha256(whole)}"'
    borders = [0, whole.index(b"sha256:"), len(whole) - 5, len(whole)]
    for start in borders[:-1]:
        for end in (at for at in borders if at > start):
            for first, last in ((max(start - 1, 0), end), (start, min(end + 1, len(whole)))):
                response, data = await site.get(path, Range=f"bytes={first}-{last - 1}", If_Range=etag)
                assert (response.status, data) == (206, whole[first:last])
                assert response.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(whole)}"
                assert response.content_length == last - first
    response, data = await site.get(path, Range="bytes=-7")
    assert (response.status, data) == (206, whole[-7:])
    response, data = await site.get(path, Range="bytes=5-9", If_Range='"another"')
    assert (response.status, data) == (200, whole)
    response, _ = await site.get(path, Range=f"bytes={len(whole)}-")
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    response, data = await site.get(path, If_None_Match=etag)
    assert (response.status, data) == (304, b"")


async def test_who_takes_a_file_is_written_down_also_in_pieces(site: Site) -> None:
    path, digest = f"/sif/{site.near}/lab/tool:1.sif", sha256(site.file())
    for _ in range(3):
        response, _ = await site.get(path, Range="bytes=1-9")
        assert response.status == 206
    response, _ = await site.get(f"/sif/{site.near}/lab/tool:2.sif")
    assert response.status == 404
    log = site.services.reloads.settings.state_directory / "audit.log"
    await asyncio.to_thread(wait_for, lambda: "lab/tool:2" in log.read_text(), "the lines of the audit log", 10.0)
    given, refused = (json.loads(line) for line in log.read_text().splitlines())
    assert (given["decision"], given["door"], given["digest"]) == ("granted", "sif", digest)
    assert given["name"] == f"sif/{site.registry.host}/lab/tool"
    assert given["upstreams"] == [site.registry.host]
    assert (refused["decision"], refused["name"]) == ("refused", f"sif/{site.near}/lab/tool:2.sif")


async def test_who_only_looks_learns_the_size(site: Site) -> None:
    response = await site.client.head(f"/sif/{site.near}/lab/tool:1.sif")
    assert response.status == 200
    assert response.content_length == len(site.file())
    assert response.headers["Accept-Ranges"] == "bytes"
    response = await site.client.head(f"/sif/{site.near}/lab/tool:2.sif")
    assert response.status == 404


async def test_a_part_that_was_evicted_is_made_again(site: Site) -> None:
    path, whole = f"/sif/{site.near}/lab/tool:1.sif", site.file()
    await site.get(path)
    start = whole.index(b"sha256:")
    for part in (whole[:start], whole[start : start + PART], whole[start + PART :]):
        await site.services.cache.collect([sha256(part)])
        assert not site.holds(part)
        response, data = await site.get(path)
        assert (response.status, data) == (200, whole)


async def test_a_part_that_is_evicted_while_the_file_is_sent_is_made_again(site: Site) -> None:
    path, whole = f"/sif/{site.near}/lab/tool:1.sif", site.file()
    response = await site.client.get(path)
    got = await response.content.readexactly(PART // 4)
    await site.services.cache.collect([sha256(whole[-5:])])
    assert not site.holds(whole[-5:])
    assert got + await response.read() == whole
    assert site.holds(whole[-5:])


async def test_what_was_taken_in_before_is_answered_without_a_question(site: Site) -> None:
    own = OwnHosts({"127.0.0.1:9090"})
    names = Names(
        site.services.requests, site.services.site, site.services.sifs, NO_RULES, "127.0.0.1:9090", own, reserved=True
    )
    asked = f"127.0.0.1:9090/sif/{site.registry.host}/lab/tool:{OTHER_TAG}"
    plan, name = await names.plan(asked, "image", (), NOBODY)
    assert name == f"sif/{site.registry.host}/lab/tool:{OTHER_TAG}"
    taking = site.services.prefetcher.take([plan], NOBODY, concurrency=1, lease=60.0, names=[name])
    async with contextlib.aclosing(taking) as taken:
        *_, last = [each async for each in taken]
    whole = site.file(OTHER)
    assert (last.done, last.error) == (True, None)
    assert len(whole) < last.total_bytes < len(whole) + 2000  # and the documents: no byte counts twice
    site.registry.requests.clear()
    response, data = await site.get(f"/v2/sif/{site.near}/lab/tool/blobs/{sha256(whole)}")
    assert (response.status, data) == (200, whole)
    assert site.registry.count() == 0
    (kept,) = (each for each in site.services.cache.images() if each.name == name)
    assert kept.size == kept.full_size == last.total_bytes


@pytest.mark.parametrize("is_sif", [False, True])
async def test_a_requests_token_gives_the_file_and_the_name(site: Site, is_sif: bool) -> None:
    plan: Node = image(site).for_platform(Platform.from_text(OTHER))
    token = await site.request(SifImage(plan, Platform.from_text(OTHER)) if is_sif else plan)
    response, data = await site.get(f"/sif/whatever--{token}.sif")
    assert (response.status, data) == (200, site.file(OTHER))
    assert response.headers["Content-Disposition"] == f'attachment; filename="whatever--{token}.sif"'
    for name in [f"sif/wt/{token}/lab/tool"] + ([f"wt/{token}/lab/tool"] if is_sif else []):
        manifest = await site.manifest(name, "1")
        assert manifest["layers"][0]["digest"] == sha256(data)
        response, file = await site.get(f"/v2/{name}/blobs/{sha256(data)}")
        assert file == data
    response, _ = await site.get(f"/v2/sif/wt/{token}/lab/tool/manifests/2")
    assert response.status == 404
    response, _ = await site.get(f"/v2/sif/wt/{token}/lab/other/manifests/1")
    assert response.status == 400


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_a_digest_behind_the_name_of_a_request_is_held_to(site: Site, is_frozen: bool) -> None:
    plan = image(site).for_platform(Platform.from_text(OWN))
    asked = FrozenImage(plan) if is_frozen else plan
    token = await site.request(asked)
    name = f"frozen/{asked.delivery.path}:{asked.delivery.tag(token)}" if is_frozen else f"wt/{token}/lab/tool:1"
    response, data = await site.get(f"/sif/{name}@{site.members[OWN]}.sif")
    assert (response.status, data) == (200, site.file())
    response, data = await site.get(f"/sif/{name}@{site.members[OTHER]}.sif")
    assert response.status == 404
    assert f"answers {site.members[OWN]}, not {site.members[OTHER]}" in response.reason


async def test_blobs_of_a_token_are_found_on_a_node_that_has_answered_nothing_of_it(site: Site) -> None:
    token = await site.request(image(site))
    response, data = await site.get(f"/v2/sif/wt/{token}/lab/tool/blobs/{sha256(site.file())}")
    assert (response.status, data) == (200, site.file())


async def test_a_request_that_is_evicted_takes_what_its_sif_has_answered_with_it(site: Site) -> None:
    token = await site.request(image(site))
    name = f"sif/wt/{token}/lab/tool"
    await site.manifest(name, "1")
    served = site.services.requests.evictions._served
    assert served.find(f"sif/wt/{token}", Digest(sha256(site.file()))) is not None
    await site.services.requests.evictions.evict(token, Identity(0), door="test")
    assert served.find(f"sif/wt/{token}", Digest(sha256(site.file()))) is None
    response, _ = await site.get(f"/v2/{name}/manifests/1")
    assert response.status == 404


async def test_the_name_of_a_request_follows_what_its_token_is_bound_to(site: Site) -> None:
    token, before = await site.request(image(site)), site.file()
    another = site.registry.add_image("lab/tool", "1", platform=OWN, config={"author": "another"})
    _, data = await site.get(f"/sif/x--{token}.sif")
    assert data == before != file_of(another["manifest"], OWN, "gzip")


@pytest.mark.parametrize("is_sif", [False, True])
async def test_a_frozen_name_by_tag_and_by_digest(site: Site, is_sif: bool) -> None:
    frozen = image(site).for_platform(Platform.from_text(OWN))
    plan = FrozenImage(SifImage(frozen, Platform.from_text(OWN)) if is_sif else frozen)
    token = await site.request(plan)
    name, tag = f"sif/frozen/{plan.delivery.path}", plan.delivery.tag(token)
    response, data = await site.get(f"/v2/{name}/manifests/{tag}")
    manifest = json.loads(data)
    digest = manifest["layers"][0]["digest"]
    assert response.status == 200
    for path in (f"/v2/{name}/blobs/{digest}", f"/v2/{name}/manifests/{response.headers['Docker-Content-Digest']}"):
        response, _ = await site.get(path)
        assert response.status == 200, path
    response, data = await site.get(f"/{name}:{tag}.sif")
    assert (response.status, sha256(data)) == (200, digest)
    if not is_sif:
        response, _ = await site.get(f"/v2/frozen/{plan.delivery.path}/blobs/{digest}")
        assert response.status == 404


async def test_a_sif_that_others_publish_stays_as_it_is(site: Site) -> None:
    digest = site.registry.add_blob("lab/published", b"theirs")
    config = site.registry.add_blob("lab/published", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": SIF_CONFIG, "digest": config, "size": 2},
        "layers": [{"mediaType": SIF_LAYER, "digest": digest, "size": 6}],
    }
    site.registry.add_manifest("lab/published", json.dumps(document).encode(), tag="1")
    for head in (True, False):
        response = await site.client.request("HEAD" if head else "GET", f"/sif/{site.near}/lab/published:1.sif")
        assert (response.status, response.content_length) == (200, 6)
        assert await response.read() == (b"" if head else b"theirs")


async def test_who_may_not_have_an_image_has_not_its_sif_either(site: Site) -> None:
    site.registry.require_login()
    alice = aiohttp.encode_basic_auth("alice", "wonder")
    name = f"sif/{site.near}/lab/tool"
    response, data = await site.get(f"/v2/{name}/manifests/1", Authorization=alice)
    digest = json.loads(data)["layers"][0]["digest"]
    paths = (
        f"/v2/{name}/manifests/1",
        f"/v2/{name}/manifests/{response.headers['Docker-Content-Digest']}",
        f"/v2/{name}/blobs/{digest}",
        f"/{name}:1.sif",
        f"/{name}@{site.members[OWN]}.sif",
    )
    for path in paths:
        response, data = await site.get(path, Authorization=alice)
        assert response.status == 200, (path, data)
        for other in ({}, {"Authorization": aiohttp.encode_basic_auth("bob", "builder")}):
            response, data = await site.get(path, **other)
            assert response.status in (401, 403, 404), path
            assert b"head" not in data


async def test_codecs_of_one_name_are_beside_each_other(site: Site) -> None:
    name = f"sif/{site.near}/lab/tool"
    await site.manifest(name, "1")
    settings = site.services.reloads.settings
    zstd = type(settings)(state=settings.state, sif=type(settings.sif)(codec="zstd"))
    site.services.sifs.codec.configure(zstd)()
    assert (await site.manifest(name, "1"))["layers"][0]["digest"] == sha256(site.file(codec="zstd"))
    for codec in ("gzip", "zstd"):
        response, data = await site.get(f"/v2/{name}/blobs/{sha256(site.file(codec=codec))}")
        assert (response.status, data) == (200, site.file(codec=codec))
