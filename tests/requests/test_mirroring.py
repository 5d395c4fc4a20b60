"""Mirroring: one that fails stops no other, errors say whose they are, who leaves leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.node import Node, open_node
from wavelet.errors import ImageNotFound, UpstreamError
from wavelet.image.reference import Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.requests.mirroring import ImageCopy, Mirroring
from wavelet.requests.transfer_tasks import TransferStatus


@pytest.fixture
async def source() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def target() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


@pytest.fixture
def mirroring(node: Node) -> Mirroring:
    pusher, pushed = node.upstream.pusher, PushedBlobs(node.database)
    return Mirroring(
        node.resolver,
        Mirror(node.upstream, node.access, node.store, pusher, pushed),
        ImagePusher(node.resolver, node.store, pusher, pushed),
    )


def image(registry: Registry, name: str) -> PlanNode:
    return RegistryImage(Reference(Repository(registry.host, name), "1"))


def add(registry: Registry, name: str) -> str:
    return str(registry.add_image(name, "1", [small_layer({"file": name.encode() * 1000})])["manifest"])


def to(registry: Registry, name: str) -> Reference:
    return Reference(Repository(registry.host, f"copies/{name}"), "1")


async def run(mirroring: Mirroring, *copies: ImageCopy, dry_run: bool = False) -> dict[int, TransferStatus]:
    last: dict[int, TransferStatus] = {}
    async with aclosing(mirroring.copy(copies, NOBODY, concurrency=2, dry_run=dry_run)) as copying:
        async for each in copying:
            last[each.index] = each
    return last


async def test_one_that_fails_stops_no_other(mirroring: Mirroring, source: Registry, target: Registry) -> None:
    digest, other = add(source, "lab/one"), add(source, "lab/two")
    changed = AugmentedImage(
        RegistryImage(Reference(Repository(source.host, "lab/two"), "1")), ContainerConfig(env=("A=1",))
    )
    copies = [
        ImageCopy(image(source, "lab/absent"), to(target, "absent")),
        ImageCopy(image(source, "lab/one"), to(target, "one")),
        ImageCopy(changed, to(target, "changed")),
    ]
    planned = await run(mirroring, *copies, dry_run=True)
    assert (planned[1].done_bytes, planned[1].done) == (0, True)
    assert planned[1].total_bytes > 0 and planned[1].blobs == 2 and planned[1].manifests == 1
    assert not target.count("POST", "/blobs/uploads/")
    ended = await run(mirroring, *copies)
    assert isinstance(ended[0].error, ImageNotFound) and ended[0].error.field is None
    assert str(ended[1].digest) == digest
    assert (ended[1].done_bytes, ended[1].blobs) == (planned[1].total_bytes, 2)
    assert ended[2].done and str(ended[2].digest) != other
    again = await run(mirroring, copies[1])
    assert (again[0].done, again[0].total_bytes, again[0].manifests) == (True, 0, 0)


async def test_a_target_that_fails_is_named(mirroring: Mirroring, source: Registry) -> None:
    add(source, "lab/one")
    target = Reference(Repository("127.0.0.1:1", "copies/one"), "1")
    ended = await run(mirroring, ImageCopy(image(source, "lab/one"), target))
    error = ended[0].error
    assert isinstance(error, UpstreamError) and error.field == "target"
    assert error.message.startswith("target: cannot reach 127.0.0.1:1")


async def test_who_leaves_leaves_nothing_behind(mirroring: Mirroring, source: Registry, target: Registry) -> None:
    made = source.add_image("lab/slow", "1", [b"x" * 300_000])
    fault = source.fault(made["layers"][0], stall=100_000)
    copying = mirroring.copy([ImageCopy(image(source, "lab/slow"), to(target, "slow"))], NOBODY, concurrency=1)
    async with aclosing(copying) as copied, asyncio.timeout(10):
        async for each in copied:
            if each.total_bytes >= 300_000:
                break
    fault.lift()
    assert not target.count("PUT", "/manifests/")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "transfer"]
