"""Which name equal requests get where there could be several: at one moment, after damage, and for how long."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from test_bindings import ask, augmented, move, pull, undecided

from doubles.registry import Registry
from lab.node import Node, open_node
from wavelet.errors import DamagedBinding
from wavelet.plan.canonical import Pin
from wavelet.plan.tokens import NOBODY
from wavelet.requests.request_cache import cost


@pytest.mark.parametrize("is_shared", [False, True])
async def test_equal_requests_of_one_moment_get_one_name(registry: Registry, tmp_path: Path, is_shared: bool) -> None:
    async with open_node(tmp_path / "node", shared=tmp_path / "shared" if is_shared else None) as node:
        registry.fault("/manifests/", delay=1)
        asked = await asyncio.gather(*(ask(node, augmented(registry), wait=0.1) for _ in range(50)))
        assert len({request.token for request in asked}) == 1
        assert asked[0].pin is None
        registry.clear_faults()
        await pull(node, asked[0].token)
        assert (await ask(node, augmented(registry))).token == asked[0].token


def damage(shared: Path, token: str) -> None:
    (shared / token[:2] / f"{token}.pin").write_bytes(b"damaged")


async def other_name(node: Node, registry: Registry, token: str, *, slow: bool) -> None:
    again = await (undecided(registry, node, augmented(registry)) if slow else ask(node, augmented(registry)))
    assert again.token != token
    await pull(node, again.token)
    with pytest.raises(DamagedBinding, match="it gets a new name") as caught:
        await pull(node, token)
    assert caught.value.status == 404  # engines repeat a 5xx for minutes


@pytest.mark.parametrize("is_bound", [False, True])
async def test_a_damaged_name_is_given_to_nobody(registry: Registry, tmp_path: Path, is_bound: bool) -> None:
    """The one that was bound first, and the one that was given last."""
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "node", shared=shared) as node:
        token = (await undecided(registry, node, augmented(registry))).token
        if is_bound:
            await pull(node, token)
        damage(shared, token)
        if not is_bound:
            await other_name(node, registry, token, slow=True)
    if is_bound:
        async with open_node(tmp_path / "node", shared=shared) as node:
            await other_name(node, registry, token, slow=False)


async def test_which_name_was_bound_first_is_known_for_as_long_as_it_is_given(
    registry: Registry, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "node", shared=shared) as node:
        token = (await undecided(registry, node, augmented(registry))).token
        await pull(node, token)
    [says_so] = [path for path in shared.glob("??/*") if not path.name.startswith(token)]
    long_ago = time.time() - 3000
    os.utime(says_so, (long_ago, long_ago))
    async with open_node(tmp_path / "node", shared=shared) as node:
        assert (await ask(node, augmented(registry))).token == token
        assert says_so.stat().st_mtime > long_ago + 1000


async def test_an_unbound_name_is_given_again_although_the_pin_is_known_by_now(
    registry: Registry, tmp_path: Path
) -> None:
    """It is bound to that pin: from then on the image has one name, not one for each phase of the first request."""
    async with open_node(tmp_path / "node") as node:
        token = (await undecided(registry, node, augmented(registry))).token
        await (await node.resolver.pin(augmented(registry), NOBODY)).result()
        dry = (await node.ask(augmented(registry), dry_run=True)).request
        assert dry.token == token
        again = await ask(node, augmented(registry))
        assert again.token == token
        assert again.pin is not None
        move(registry)
        await pull(node, token)


async def test_a_bound_name_is_given_before_anything_says_that_it_was_the_first(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path / "node") as node:
        request = await undecided(registry, node, augmented(registry))
        pinned = await (await node.resolver.pin(augmented(registry), NOBODY)).result()
        await node.records.bind(request.token, Pin.of(pinned.plan))
        assert (await ask(node, augmented(registry))).token == request.token


async def test_a_name_that_was_given_by_its_pin_stays_before_one_that_was_not(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path / "node", tag_ttl=0) as node:
        token = (await ask(node, augmented(registry))).token
        other = (await undecided(registry, node, augmented(registry))).token
        assert other != token
        assert (await ask(node, augmented(registry))).token == token


async def test_who_looks_a_name_up_at_the_same_moment_knows_the_same_of_it(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one, open_node(tmp_path / "two", shared=shared) as two:
        token = (await undecided(registry, one, augmented(registry))).token
        registry.fault("/manifests/", delay=0.2)
        asked = [
            *(two.requests.pulls.realise(token, NOBODY) for _ in range(8)),
            two.requests.tracker.status(token, NOBODY),
        ]
        await asyncio.gather(*asked)
        assert len({id(await two.cache.look_up(token)) for _ in range(2)}) == 1
        assert two.cache._known.currsize == cost(await two.cache.look_up(token))
