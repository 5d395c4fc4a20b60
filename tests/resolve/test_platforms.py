"""Platforms at a running daemon: in whatever form an image comes, it is there for the platform asked for, or is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from doubles.registry import Registry
from lab.daemon import Daemon
from lab.http import Answer, request

pytestmark = pytest.mark.process

CONFIG = {"env": ["A=1"]}
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that asks for every tag again, shared by the tests of this file."""
    state = tmp_path_factory.mktemp("node") / "state"
    started = Daemon(state, WAVELET_UPSTREAM_TAG_TTL=0, WAVELET_UPSTREAM_ACCESS_TTL=0)
    yield started.start()
    started.stop()


async def ask(daemon: Daemon, path: str, body: Any) -> Answer:
    return await asyncio.to_thread(request, "POST", daemon.url + path, body=json.dumps(body).encode())


async def answers(daemon: Daemon, image: str, platform: str | None) -> list[Answer]:
    """Ask for an image as it is, augmented, and to be inspected."""
    body = {"containerImage": image} | ({} if platform is None else {"containerPlatform": platform})
    return [
        await ask(daemon, "/v1alpha2/container", body),
        await ask(daemon, "/v1alpha2/container", body | {"containerConfig": CONFIG}),
        await ask(daemon, "/container-token", body),
        await ask(daemon, f"/v1alpha1/inspect?platform={platform or 'linux/amd64'}", body),
    ]


def add_index(registry: Registry, tag: str | None, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Add an index of entries as they are; return its own descriptor."""
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    return {"mediaType": INDEX, "digest": registry.add_manifest("lab/tool", data, INDEX, tag), "size": len(data)}


def entry(image: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"mediaType": image["media_type"], "digest": image["manifest"], "size": image["size"]} | more


async def test_an_image_of_one_platform_is_not_there_for_others(registry: Registry, daemon: Daemon) -> None:
    """Fault A2: one answer for a single manifest and an index, with and without containerConfig; inspect too."""
    for platform, tag in (("linux/amd64", "amd"), ("linux/arm64", "arm"), ("linux/arm/v6", "v6")):
        image = registry.add_image("lab/tool", tag, platform=platform)
        registry.add_index("lab/tool", f"{tag}-index", [image])
    for tag, asked, there in (
        ("amd", "linux/arm64", "linux/amd64"),
        ("arm", "linux/amd64", "linux/arm64"),
        ("arm", None, "linux/arm64"),
        ("v6", "linux/arm", "linux/arm/v6"),
    ):
        for form in ("", "-index"):
            for answer in await answers(daemon, f"{registry.host}/lab/tool:{tag}{form}", asked):
                assert answer.status == 404, (tag, form, answer.body)
                message = answer.json()["message"]
                assert f"has no {'linux/arm/v7' if tag == 'v6' else asked or 'linux/amd64'}; it has {there}." in message
                assert "process.arch" in message and "containerPlatform" in message
                assert ("upstream.mislabelled" in message) is (form == "")


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        ({"architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        ({"architecture": "arm64", "variant": None}, "arm64/v8"),
        ({"architecture": "aarch64"}, "linux/arm64"),
        ({"architecture": "x86_64"}, "linux/amd64"),
        ({"architecture": "amd64", "variant": "v1", "os": None}, "linux/amd64"),
        ({"architecture": "arm"}, "linux/arm/v7"),
        ({"architecture": None}, "linux/arm64"),
        ({"architecture": "", "os": ""}, "linux/arm64"),
    ],
)
async def test_other_words_for_a_platform_and_none_at_all(
    registry: Registry, daemon: Daemon, config: dict[str, Any], asked: str
) -> None:
    """Fault A2: aliases and default variants count as one, and an image that names no platform is served for any."""
    registry.add_image("lab/tool", "1", config=config)
    asked = asked if asked.startswith("linux") else f"linux/{asked}"
    for answer in await answers(daemon, f"{registry.host}/lab/tool:1", asked):
        assert answer.status == 200, answer.body
        assert answer.json().get("succeeded", True) is True


async def test_a_site_can_list_what_is_mislabelled(registry: Registry, start_daemon: Callable[..., Daemon]) -> None:
    """Fault A2: repositories whose images name the wrong platform."""
    daemon = start_daemon(settings={"upstream": {"mislabelled": [f"{registry.host}/lab/"]}})
    registry.add_image("lab/tool", "1")
    registry.add_image("laboratory/tool", "1")
    for answer in await answers(daemon, f"{registry.host}/lab/tool:1", "linux/arm64"):
        assert answer.status == 200, answer.body
    for answer in await answers(daemon, f"{registry.host}/laboratory/tool:1", "linux/arm64"):
        assert answer.status == 404, answer.body


async def test_what_a_digest_or_no_platform_names_is_served_as_it_is(registry: Registry, daemon: Daemon) -> None:
    """An engine that pulls from the near cache chooses itself, and compares a digest with the bytes."""
    image = registry.add_image("lab/tool", "1", platform="linux/arm64")
    near = f"{daemon.url}/v2/{registry.host.replace(':', '_')}/lab/tool/manifests"
    for reference in ("1", image["manifest"]):
        assert (await asyncio.to_thread(request, "GET", f"{near}/{reference}")).status == 200
    by_digest = {"containerImage": f"{registry.host}/lab/tool@{image['manifest']}"}
    assert (await ask(daemon, "/v1alpha2/container", by_digest)).status == 200


async def test_an_index_is_looked_into_for_a_platform(registry: Registry, daemon: Daemon) -> None:
    """Fault B12: an index inside an index, and an entry that names no platform."""
    amd, arm = (registry.add_image("lab/tool", None, platform=f"linux/{each}") for each in ("amd64", "arm64"))
    signature = registry.add_manifest("lab/tool", b'{"schemaVersion": 2, "config": null, "layers": []}')
    lost = {"mediaType": INDEX, "digest": f"sha256:{'0' * 64}", "size": 9}
    about = {"mediaType": amd["media_type"], "digest": signature, "size": 46}
    named = entry(amd, platform={"os": "linux", "architecture": "amd64", "variant": None})
    inner = add_index(registry, None, [about, named])
    outer = add_index(registry, "nested", [lost, about, inner])
    add_index(registry, "twice", [outer])
    add_index(registry, "named", [inner | {"platform": {"os": "linux", "architecture": "amd64"}}])
    add_index(registry, "bare", [about, entry(arm), entry(amd)])
    near = f"{daemon.url}/v2/{registry.host.replace(':', '_')}/lab/tool/manifests"
    accept = {"Accept": amd["media_type"]}  # a client that reads no indexes
    for tag in ("nested", "twice", "named", "bare"):
        given = await asyncio.to_thread(request, "GET", f"{near}/{tag}", headers=accept)
        assert given.headers["docker-content-digest"] == amd["manifest"]
        *made, inspected = await answers(daemon, f"{registry.host}/lab/tool:{tag}", "linux/amd64")
        assert [answer.status for answer in made] == [200] * 3, made[0].body
        assert inspected.json()["container"]["digest"] == amd["manifest"]
        for answer in await answers(daemon, f"{registry.host}/lab/tool:{tag}", "linux/arm/v6"):
            assert answer.status == 404
            there = "linux/arm64, linux/amd64" if tag == "bare" else "linux/amd64"
            assert f"it has {there}." in answer.json()["message"]


async def test_an_index_that_has_no_end_is_left(registry: Registry, daemon: Daemon) -> None:
    """Fault B12: no more than so many documents are looked into."""
    inner = add_index(registry, None, [])
    for _ in range(60):
        inner = add_index(registry, None, [inner])
    add_index(registry, "deep", [inner])
    for answer in await answers(daemon, f"{registry.host}/lab/tool:deep", "linux/amd64"):
        assert answer.status == 404
    assert registry.count("GET", "/manifests/sha256:") < 40


@pytest.mark.parametrize("form", ["single", "index"])
async def test_a_base_for_other_platforms_is_said_before_any_solve(
    registry: Registry, daemon: Daemon, form: str
) -> None:
    """Fault A9: 404 that names the base's platforms; the channel is not even there."""
    image = registry.add_image("lab/base", "single")
    registry.add_index("lab/base", "index", [image])
    packages = {
        "type": "CONDA",
        "environment": None,
        "entries": ["python=3.11", "pip:six"],
        "channels": [f"{registry.url}/channel"],
        "condaOpts": {"baseImage": f"{registry.host}/lab/base:{form}"},
    }
    answer = await ask(daemon, "/v1alpha2/container", {"packages": packages, "containerPlatform": "linux/arm64"})
    assert answer.status == 404, answer.body
    assert "lab/base" in answer.json()["message"]
    assert "has no linux/arm64; it has linux/amd64." in answer.json()["message"]
    assert "process { withName: 'NAME' { arch = 'amd64' } }" in answer.json()["message"]
    assert registry.count("GET", "/channel/") == 0
