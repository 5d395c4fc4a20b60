"""What names of packages answer: the lock they were given for, whatever is solved for later."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from doubles.registry import Registry, small_layer
from lab.node import AMD64, Making, Node, open_node, package, registry_plan
from wavelet.errors import UpstreamBroken, WaveletError
from wavelet.image.image import Image
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.plan.node import ContainerConfig, Layer
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY
from wavelet.requests.progress import Failed
from wavelet.requests.request import ContainerRequest

BEFORE, AFTER = (package("a"), package("b")), (package("a"), package("c"))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state", tag_ttl=0) as built:
        built.conda.packages = BEFORE
        built.conda.go_on.set()
        making = Making()
        making.let("a", "b", "c")
        built.makers.update(making.makers)
        yield built


def specs(registry: Registry, as_of: str | None = None) -> CondaEnvironment:
    return CondaEnvironment(("a", "b"), ("lab",), AMD64, registry_plan(registry.host, "lab/base"), as_of=as_of)


def with_bin(plan: CondaEnvironment) -> tuple[AugmentedImage, dict[Digest, bytes]]:
    """Return the plan with a layer whose bytes come with the request, as Nextflow sends a pipeline's `bin/`."""
    blob = small_layer({"usr/local/bin/tool": b"#!/bin/sh\n"})
    layer = Layer(Digest.of(blob), len(blob), Digest.of(gzip.decompress(blob)), "inline:")
    return AugmentedImage(plan, ContainerConfig(layers=(layer,))), {layer.digest: blob}


async def ask(node: Node, plan: PlanNode, **more: object) -> ContainerRequest:
    return (await node.ask(plan, **more)).request


async def pull(node: Node, token: str) -> Digest:
    return (await node.requests.pulls.realise(token, NOBODY))[1].descriptor.digest


def notes(request: ContainerRequest) -> str:
    return " ".join(request.about.notes if request.about else ())


async def test_a_refresh_that_finds_other_packages_gives_another_name_and_says_so(
    registry: Registry, node: Node
) -> None:
    first = await ask(node, specs(registry))
    before = await pull(node, first.token)
    node.conda.packages = AFTER
    second = await ask(node, specs(registry), refresh=True)
    assert second.token != first.token
    assert "this is a new name, and the one before goes on" in notes(second)
    assert await pull(node, first.token) == before != await pull(node, second.token)
    assert "b-1.0" in await node.requests.details.lock(first.token, NOBODY, "explicit", None)
    assert "c-1.0" in await node.requests.details.lock(second.token, NOBODY, "explicit", None)
    assert (await ask(node, specs(registry))).token == second.token


async def test_a_refresh_that_takes_its_time_is_a_new_name_at_once(registry: Registry, node: Node) -> None:
    first = await ask(node, specs(registry))
    before = await pull(node, first.token)
    node.conda.packages = AFTER
    node.conda.go_on.clear()
    second = await ask(node, specs(registry), refresh=True, wait=0.0)
    assert second.pin is None
    assert second.token != first.token
    assert "being solved for anew, so that this is a new name" in notes(second)
    assert await pull(node, first.token) == before
    pulling = asyncio.create_task(pull(node, second.token))
    await asyncio.sleep(0.05)
    node.conda.go_on.set()
    assert await pulling != before
    assert "c-1.0" in await node.requests.details.lock(second.token, NOBODY, "explicit", None)
    assert (await ask(node, specs(registry))).token == second.token


async def test_refreshes_of_one_moment_get_one_name(registry: Registry, node: Node) -> None:
    first = await ask(node, specs(registry))
    node.conda.packages = AFTER
    node.conda.go_on.clear()
    asked = await asyncio.gather(*(ask(node, specs(registry), refresh=True, wait=0.05) for _ in range(8)))
    node.conda.go_on.set()
    [token] = {request.token for request in asked}
    assert token != first.token
    await pull(node, token)
    assert "c-1.0" in await node.requests.details.lock(token, NOBODY, "explicit", None)
    node.conda.packages = BEFORE
    assert (await ask(node, specs(registry), refresh=True)).token != token


async def test_who_goes_away_while_the_name_is_written_leaves_no_work(
    registry: Registry, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = asyncio.Event()

    async def keep(*_: object) -> str:
        writing.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(node.naming, "keep", keep)
    node.conda.go_on.clear()
    asking = asyncio.create_task(ask(node, specs(registry), wait=0.0, keep=False))
    await asyncio.wait_for(writing.wait(), 5)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(5):
        while node.resolver.running:
            await asyncio.sleep(0.01)
    assert node.conda.cancelled == node.conda.begun


async def test_a_refresh_that_finds_the_same_keeps_the_name(registry: Registry, node: Node) -> None:
    first = await ask(node, specs(registry))
    second = await ask(node, specs(registry), refresh=True)
    assert second.token == first.token
    assert not notes(second)


async def test_a_request_is_asked_for_again_with_the_layers_that_came_with_it(registry: Registry, node: Node) -> None:
    plan, inline = with_bin(specs(registry))
    first = (await node.ask(plan, inline=inline)).request
    assert await node.requests.details.asked(first.token, NOBODY) == (plan, inline)


@pytest.mark.parametrize("kind", ["specs", "a lock", "a date"])
async def test_another_base_is_another_name(registry: Registry, node: Node, kind: str) -> None:
    base = registry_plan(registry.host, "lab/base")
    plans: dict[str, PlanNode] = {
        "specs": specs(registry),
        "a lock": LockedEnvironment(BEFORE, (), AMD64, base),
        "a date": specs(registry, "2026-01-31T00:00:00Z"),
    }
    first = await ask(node, plans[kind])
    before = await pull(node, first.token)
    assert (await ask(node, plans[kind])).token == first.token
    registry.add_image("lab/base", "1", [small_layer({"moved": b"yes"})])
    second = await ask(node, plans[kind])
    assert second.token != first.token
    assert await pull(node, first.token) == before


async def test_the_name_of_packages_that_cannot_be_had_fails_and_asked_again_there_is_another(
    registry: Registry, node: Node
) -> None:
    """An index was wrong about a package: the first name was given for it, and nobody may answer it by others."""
    made = node.makers[LockedEnvironment]

    async def broken(plan: LockedEnvironment, work: object) -> Image:
        if plan.packages == BEFORE:
            raise UpstreamBroken("b-1.0 is not what the index says")
        return await made(plan, work)

    node.makers[LockedEnvironment] = broken
    node.conda.locks[specs(registry)] = LockedEnvironment(BEFORE, (), AMD64, registry_plan(registry.host, "lab/base"))
    dry = (await node.ask(specs(registry), dry_run=True)).request
    node.conda.packages = AFTER
    status = await node.ask(specs(registry))
    again = status.request
    assert again.token != dry.token
    assert not isinstance(status.state, Failed)
    with pytest.raises(WaveletError, match="not what the index says"):
        await pull(node, dry.token)
    await pull(node, again.token)


async def test_a_name_is_not_bound_to_packages_that_cannot_be_had(registry: Registry, node: Node) -> None:
    async def broken(plan: LockedEnvironment, work: object) -> Image:
        raise UpstreamBroken("b-1.0 is not what the index says")

    node.makers[LockedEnvironment] = broken
    upstream = msgspec.structs.replace(node.settings.upstream, tag_ttl=300)
    node.pinner.configure(msgspec.structs.replace(node.settings, upstream=upstream))()
    node.conda.go_on.clear()
    first = await ask(node, specs(registry), wait=0.0)
    node.conda.go_on.set()
    async with asyncio.timeout(5):
        while node.resolver.running:
            await asyncio.sleep(0.02)
    again = await ask(node, specs(registry))
    assert again.token == first.token
    assert again.pin is None


async def test_many_and_few_layers_are_different_names(registry: Registry, node: Node) -> None:
    many = await ask(node, specs(registry))
    few = await ask(node, replace(specs(registry), layers="few"))
    assert many.token != few.token
