"""Tags whose image is gone from its registry: replaced and deleted while it was pinned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from doubles.registry import Registry, small_layer
from lab.daemon import Daemon
from lab.http import Answer, request


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


async def get(daemon: Daemon, path: str) -> Answer:
    return await asyncio.to_thread(request, "GET", f"{daemon.url}/v2/{path}")


def replaced(registry: Registry, old: dict[str, Any], *, tag: str = "1") -> dict[str, Any]:
    """Give the tag other content, and delete what it was."""
    new = registry.add_image("lab/tool", tag, [small_layer({"new": b"content"})])
    for digest in (old["manifest"], old["config"], *old["layers"]):
        registry.remove("lab/tool", digest)
    return new


async def test_blobs_that_are_gone(registry: Registry, daemon: Daemon) -> None:
    """Fault B11: the pull after the one that found a blob missing gets what the tag is now, long before tag_ttl."""
    old = registry.add_image("lab/tool", "1", [small_layer({"old": b"content"})])
    near = f"{registry.host.replace(':', '_')}/lab/tool"
    assert (await get(daemon, f"{near}/manifests/1")).headers["docker-content-digest"] == old["manifest"]
    new = replaced(registry, old)
    assert (await get(daemon, f"{near}/manifests/1")).headers["docker-content-digest"] == old["manifest"]
    assert (await get(daemon, f"{near}/blobs/{old['layers'][0]}")).status == 404
    again = await get(daemon, f"{near}/manifests/1")
    assert again.headers["docker-content-digest"] == new["manifest"]
    for digest in (new["config"], *new["layers"]):
        assert (await get(daemon, f"{near}/blobs/{digest}")).status == 200


async def test_a_manifest_that_is_gone(registry: Registry, daemon: Daemon) -> None:
    """Fault B11: found while a request is prepared, and mended in the same request."""
    arm, amd = (registry.add_image("lab/tool", None, platform=f"linux/{each}") for each in ("arm64", "amd64"))
    index = registry.add_index("lab/tool", "1", [arm, amd])
    body: dict[str, Any] = {"containerImage": f"{registry.host}/lab/tool:1", "containerPlatform": "linux/arm64"}

    async def post() -> Answer:
        return await asyncio.to_thread(
            request, "POST", f"{daemon.url}/v1alpha2/container", body=json.dumps(body).encode()
        )

    assert (await post()).status == 200
    new = replaced(registry, amd)
    registry.remove("lab/tool", index)
    body["containerPlatform"] = "linux/amd64"
    answer = await post()
    assert (answer.status, answer.json().get("succeeded")) == (200, True), answer.body
    name = answer.json()["targetImage"].partition("/")[2].rpartition(":")[0]
    assert (await get(daemon, f"{name}/manifests/1")).headers["docker-content-digest"] == new["manifest"]
