"""Prefetching: whole closures in the store, leased; one that fails stops no other; who leaves leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.node import Node, open_node, registry_plan
from wavelet.errors import ImageNotFound, UpstreamBroken
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.plan.node import ContainerConfig
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY
from wavelet.requests.prefetch import Prefetcher
from wavelet.requests.transfer_tasks import TransferStatus


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


def add(registry: Registry, name: str) -> list[Digest]:
    layers = [small_layer({"file": f"{name} {number}".encode() * 1000}) for number in range(5)]
    image = registry.add_image(name, "1", layers)
    return [Digest(image["manifest"]), Digest(image["config"]), *map(Digest, image["layers"])]


async def take(node: Node, *plans: PlanNode, names: Sequence[str] = ()) -> dict[int, list[TransferStatus]]:
    told: dict[int, list[TransferStatus]] = defaultdict(list)
    taking = Prefetcher(node.resolver, node.store, node.served).take(
        plans, NOBODY, concurrency=2, lease=600.0, names=names
    )
    async with aclosing(taking) as taken:
        async for each in taken:
            told[each.index].append(each)
    return told


async def test_images_and_one_that_fails(node: Node, registry: Registry) -> None:
    digests = add(registry, "lab/one") + add(registry, "lab/two")
    broken = add(registry, "lab/broken")
    registry.fault(broken[-1], corrupt=50)
    augmented = AugmentedImage(registry_plan(registry.host, "lab/two"), ContainerConfig(env=("A=1",)))
    names = ["lab/one", "lab/absent", "lab/broken"]
    plans: list[PlanNode] = [*(registry_plan(registry.host, name) for name in names), augmented]
    told = await take(node, *plans, names=["", "", "", "wt/0123/lab/two:1"])
    assert all(each[0] == TransferStatus(index) for index, each in told.items())
    assert [each[-1].done for each in told.values()] == [True, False, False, True]
    assert isinstance(told[1][-1].error, ImageNotFound)
    assert isinstance(told[2][-1].error, UpstreamBroken)
    for index in (0, 3):
        last = told[index][-1]
        assert last.done_bytes == last.total_bytes > 0
    assert told[0][-1].digest == digests[0]
    kept = node.store.retention
    for digest in [*digests[:7], *digests[9:]]:  # of the augmented image all but its old manifest and configuration
        assert node.store.size_of(digest), digest
        assert abs((kept.leased_until(digest) or 0) - time.time() - 600) < 30
    assert kept.leased_until(broken[2]) is None
    assert not kept._holds
    assert next(node.served.images(f"{registry.host}/lab/one")).descriptor.digest == digests[0]
    assert next(node.served.images("wt/0123")).descriptor.digest == told[3][-1].digest


async def test_how_far_it_is_and_leaving_it(node: Node, registry: Registry) -> None:
    layer = small_layer({"file": bytes(range(256))})
    image = registry.add_image("lab/slow", "1", [layer, b"x" * 300_000])
    small = [image["size"], len(registry._blobs["lab/slow", image["config"]]), len(layer)]
    fault = registry.fault(image["layers"][1], stall=150_000)
    taking = Prefetcher(node.resolver, node.store, node.served).take(
        [registry_plan(registry.host, "lab/slow")], NOBODY, concurrency=1, lease=600.0
    )
    async with aclosing(taking) as taken, asyncio.timeout(5):
        async for each in taken:
            if each.done_bytes > sum(small):
                assert each.total_bytes == sum(small) + 300_000
                break
    assert not node.store.retention._holds
    assert not node.store.retention._leases
    fault.lift()
    registry.clear_faults()
    # The fetch belongs to nobody, and has gone on: by a Range, as its connection broke.
    assert (await take(node, registry_plan(registry.host, "lab/slow")))[0][-1].done
    assert registry.count("GET", "/blobs/") == 4
