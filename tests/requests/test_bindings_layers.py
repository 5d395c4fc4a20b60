"""Names of requests that add layers: the same wherever these lie, and pulled from where the last request says."""

from __future__ import annotations

import gzip
from pathlib import Path

from test_bindings import ask, move, old_name, pull

from doubles.registry import Registry, small_layer
from lab.node import Node, open_node, registry_plan
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.plan.node import ContainerConfig, Layer
from wavelet.plan.tokens import NOBODY
from wavelet.requests.request import answer_name

BLOB = small_layer({"added": b"yes"})


def at(registry: Registry, place: str) -> AugmentedImage:
    """Return a plan with a layer that is at a place, which it puts there."""
    digest = registry.add_blob(place, BLOB)
    layer = Layer(
        Digest(digest), len(BLOB), Digest.of(gzip.decompress(BLOB)), f"{registry.url}/v2/{place}/blobs/{digest}"
    )
    return AugmentedImage(registry_plan(registry.host, "lab/tool"), ContainerConfig(layers=(layer,)))


async def empty(node: Node) -> None:
    await node.store.room.evict([digest for digest, _, _ in node.store.listing()])


async def take(node: Node, token: str) -> None:
    """Pull an image and open all that it has."""
    _, image = await node.requests.pulls.realise(token, NOBODY)
    for content in image.contents:
        await node.resolver.open(content, NOBODY)


async def test_a_ready_name_is_made_again_of_where_the_last_request_says_its_layers_are(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path / "node") as node:
        token = (await ask(node, at(registry, "lab/here"))).token
        before = await pull(node, token)
        assert (await ask(node, at(registry, "lab/there"))).token == token
        registry.remove("lab/here", str(Digest.of(BLOB)))
        await empty(node)
        assert await pull(node, token) == before
        await take(node, token)


async def test_an_earlier_versions_name_is_bound_to_what_it_answered_wherever_its_layers_were(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path / "node", tag_ttl=0) as node:
        token = await old_name(node, at(registry, "lab/here"))
        key, image = await node.resolver.realise(at(registry, "lab/there"), NOBODY)
        node.served.put(answer_name(token), key, f"{answer_name(token)}/lab/tool:1")
        await node.database.write([])
        move(registry)
        assert await pull(node, token) == image.descriptor.digest
