"""Layers that a registry does not have, but the URLs that their manifest names (image-spec descriptor.md, `urls`)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from doubles.registry import Registry, small_layer
from lab.daemon import Daemon
from lab.http import Answer, request

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
LAYER = small_layer({"licensed": b"bytes" * 20_000})
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


def add_image(registry: Registry, urls: Any, tag: str = "1") -> None:
    """Add an image whose second layer is not in the registry's repository."""
    own = registry.add_image("lab/tool", tag, [small_layer({"own": b"bytes"}), LAYER], family="docker")
    registry.remove("lab/tool", DIGEST)
    document = json.loads(registry._manifests["lab/tool", own["manifest"]][0])
    document["layers"][1] |= {"mediaType": FOREIGN, "urls": urls}
    registry.add_manifest("lab/tool", json.dumps(document).encode(), own["media_type"], tag)


async def get(daemon: Daemon, path: str) -> Answer:
    return await asyncio.to_thread(request, "GET", f"{daemon.url}/v2/{path}")


async def augmented(daemon: Daemon, image: str) -> str:
    body = {"containerImage": image, "containerConfig": {"env": ["A=1"]}}
    answer = await asyncio.to_thread(
        request, "POST", f"{daemon.url}/v1alpha2/container", body=json.dumps(body).encode()
    )
    assert answer.status == 200, answer.body
    name: str = answer.json()["targetImage"].partition("/")[2].rpartition(":")[0]
    return name


async def test_a_layer_is_fetched_from_its_urls(registry: Registry, start_daemon: Callable[..., Daemon]) -> None:
    """Fault B14: by a near-cache name and augmented, the first URL that has it, also after a restart."""
    daemon = start_daemon()
    elsewhere = f"{registry.url}/v2/lab/elsewhere/blobs"
    registry.add_blob("lab/elsewhere", LAYER)
    add_image(registry, [None, f"{elsewhere}/sha256:{'0' * 64}", f"{elsewhere}/{DIGEST}"])
    near = f"{registry.host.replace(':', '_')}/lab/tool"
    assert (await get(daemon, f"{near}/manifests/1")).status == 200
    daemon.stop()
    daemon = start_daemon()
    fetched = await get(daemon, f"{near}/blobs/{DIGEST}")
    assert (fetched.status, fetched.body) == (200, LAYER)
    name = await augmented(daemon, f"{registry.host}/lab/tool:1")
    assert (await get(daemon, f"{name}/manifests/1")).status == 200
    assert (await get(daemon, f"{name}/blobs/{DIGEST}")).body == LAYER


async def test_what_a_url_has_is_verified_and_the_policy_holds(
    registry: Registry, start_daemon: Callable[..., Daemon]
) -> None:
    """Fault B14: other bytes are never served as the layer, and a URL leads to no address that is forbidden."""
    daemon = start_daemon(settings={"upstream": {"private_networks": "never"}})
    wrong = registry.add_blob("lab/elsewhere", b"x" * len(LAYER))
    add_image(registry, [f"{registry.url}/v2/lab/elsewhere/blobs/{wrong}"])
    near = f"{registry.host.replace(':', '_')}/lab/tool"
    assert (await get(daemon, f"{near}/manifests/1")).status == 200
    refused = await get(daemon, f"{near}/blobs/{DIGEST}")
    assert refused.status == 502
    assert "private" in refused.json()["errors"][0]["message"] or "loopback" in refused.json()["errors"][0]["message"]
    assert registry.count("GET", "/lab/elsewhere/") == 0
    daemon.stop()
    daemon = start_daemon()
    assert (await get(daemon, f"{near}/manifests/1")).status == 200
    assert (await get(daemon, f"{near}/blobs/{DIGEST}")).status == 502
    assert registry.count("GET", "/lab/elsewhere/") > 0


async def test_a_layer_that_is_nowhere(registry: Registry, daemon: Daemon) -> None:
    """Fault B14: the error names all places."""
    add_image(registry, [f"{registry.url}/gone"])
    near = f"{registry.host.replace(':', '_')}/lab/tool"
    assert (await get(daemon, f"{near}/manifests/1")).status == 200
    answer = await get(daemon, f"{near}/blobs/{DIGEST}")
    assert answer.status == 404
    message = answer.json()["errors"][0]["message"]
    assert f"has no blob {DIGEST}" in message and "/gone" in message
