"""What names answer, on nodes that share a directory: the same for good, whatever tags, nodes and stores do."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.node import Node, open_node, registry_plan
from wavelet.cluster.records import Record
from wavelet.cluster.shared_directory import records as directory
from wavelet.errors import AccessRefused, DirectoryUnavailable, NoSpace, NotFound, OurError, WaveletError
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.plan.canonical import Pin
from wavelet.plan.node import ContainerConfig
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import ANONYMOUS, NOBODY, Identity, asked_token
from wavelet.requests import binding
from wavelet.requests.request import ContainerRequest, answer_name

ENV = ContainerConfig(env=("A=1",))


def augmented(registry: Registry, tag: str = "1") -> AugmentedImage:
    return AugmentedImage(registry_plan(registry.host, "lab/tool", tag), ENV)


def move(registry: Registry, turn: int = 1, repository: str = "lab/tool") -> None:
    """Push other content to the tag."""
    registry.add_image(repository, "1", [small_layer({"turn": str(turn).encode()})])


async def ask(node: Node, plan: PlanNode, wait: float = 2.0, **more: object) -> ContainerRequest:
    return (await node.ask(plan, wait=wait, **more)).request


async def pull(node: Node, token: str) -> Digest:
    key, image = await node.requests.pulls.realise(token, NOBODY)
    node.served.put(answer_name(token), key, f"{answer_name(token)}/lab/tool:1")
    return image.descriptor.digest


async def undecided(registry: Registry, node: Node, plan: PlanNode) -> ContainerRequest:
    """Ask while the registry takes its time: the name is given without a pin, and nothing is done for it any more."""
    registry.fault("/manifests/", delay=1)
    request = await ask(node, plan, wait=0.0, keep=False)
    assert request.pin is None
    job = (await node.cache.look_up(request.token)).progress.job
    assert job is not None
    watching = asyncio.create_task(job.result())
    await asyncio.sleep(0)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    registry.clear_faults()
    return request


async def test_a_tag_that_moves_makes_another_name_and_the_first_one_stays(registry: Registry, tmp_path: Path) -> None:
    """Fault A1: a name that changes what it answers."""
    shared = tmp_path / "shared"
    async with (
        open_node(tmp_path / "one", shared=shared, tag_ttl=0) as one,
        open_node(tmp_path / "two", shared=shared) as two,
    ):
        first = await ask(one, augmented(registry))
        before = await pull(one, first.token)
        assert (await ask(one, augmented(registry))).token == first.token
        move(registry)
        second = await ask(one, augmented(registry))
        assert second.token != first.token
        assert await pull(two, first.token) == before
        assert await pull(one, first.token) == before
        assert await pull(two, second.token) == await pull(one, second.token) != before


async def test_a_pull_asks_nobody_what_a_tag_is(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one, open_node(tmp_path / "two", shared=shared) as two:
        request = await ask(one, augmented(registry))
        asked = registry.count("HEAD")
        await pull(one, request.token)
        assert registry.count("HEAD") == asked
        await pull(two, request.token)
        assert registry.count("HEAD", "/manifests/1$") == 1


async def test_equal_requests_get_one_name_on_all_nodes(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one, open_node(tmp_path / "two", shared=shared) as two:
        assert (await ask(one, augmented(registry))).token == (await ask(two, augmented(registry))).token


async def test_a_name_that_is_given_without_a_pin_is_bound_by_the_first_one(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with (
        open_node(tmp_path / "one", shared=shared, tag_ttl=0) as one,
        open_node(tmp_path / "two", shared=shared) as two,
    ):
        request = await undecided(registry, one, augmented(registry))
        answered = await pull(two, request.token)
        move(registry)
        assert await pull(one, request.token) == answered
        assert (await ask(one, augmented(registry))).token != request.token


async def test_equal_requests_get_an_unbound_name_again_and_the_bound_one_from_then_on(
    registry: Registry, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    async with open_node(tmp_path / "one", shared=shared) as one, open_node(tmp_path / "two", shared=shared) as two:
        request = await undecided(registry, one, augmented(registry))
        assert (await undecided(registry, one, augmented(registry))).token == request.token
        await pull(one, request.token)
        assert (await ask(one, augmented(registry))).token == request.token
        assert (await ask(two, augmented(registry))).token == request.token


async def test_who_does_not_wait_gets_the_same_name_where_the_pin_is_there_soon(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "NAME_WAIT", 5.0)
    async with open_node(tmp_path, tag_ttl=0) as node:
        first = await ask(node, augmented(registry), wait=0.0, keep=False)
        registry.fault("/manifests/1$", delay=0.2, times=1)
        again = await ask(node, augmented(registry), wait=0.0, keep=False)
        assert again.token == first.token == (await ask(node, augmented(registry))).token
        assert again.pin is not None


@pytest.mark.parametrize("everybody", [True, False])
async def test_what_a_registry_has_removed_is_answered_from_the_store(
    registry: Registry, tmp_path: Path, everybody: bool
) -> None:
    """Registries clean up what no tag names any more; a private one's no may be a no to who asks."""
    async with open_node(tmp_path, tag_ttl=0) as node:
        first = await ask(node, augmented(registry))
        before = await pull(node, first.token)
        old = registry._tags["lab/tool", "1"]
        move(registry)
        await ask(node, augmented(registry))
        registry.remove("lab/tool", old)
        node.access.ttl = 0.0
        if everybody:
            assert await pull(node, first.token) == before
            return
        for key in list(node.access._known):
            node.access._known.pop(key)
        with pytest.raises(NotFound):
            await pull(node, first.token)


async def test_a_dry_run_gives_the_name_that_the_run_gets(registry: Registry, tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        dry = (await node.ask(augmented(registry), dry_run=True)).request
        assert (await ask(node, augmented(registry))).token == dry.token


async def test_a_dry_run_that_does_not_wait_gives_it_too(registry: Registry, tmp_path: Path) -> None:
    async with open_node(tmp_path) as node:
        registry.fault("/manifests/", delay=0.3, times=1)
        dry = (await node.ask(augmented(registry), dry_run=True, wait=0.0)).request
        assert dry.pin is None
        async with asyncio.timeout(5):
            while (await node.requests.lookup.find(dry.token, NOBODY)).pin is None:
                await asyncio.sleep(0.02)
        assert (await ask(node, augmented(registry))).token == dry.token


async def test_of_two_nodes_that_bind_at_the_same_moment_one_is_right(registry: Registry, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(open_node(tmp_path / str(number), shared=shared, tag_ttl=0))
            for number in range(3)
        ]
        for turn in range(5):
            request = await undecided(registry, nodes[0], augmented(registry))

            async def pulled(node: Node, turn: int = turn, token: str = request.token) -> Digest:
                move(registry, 10 * turn + nodes.index(node))
                return await pull(node, token)

            assert len(set(await asyncio.gather(*map(pulled, nodes)))) == 1


async def test_all_leaves_are_bound_together(registry: Registry, tmp_path: Path) -> None:
    registry.add_image("lab/other", "1")
    members = tuple(
        (leaf.platform, AugmentedImage(leaf, ENV, (registry_plan(registry.host, "lab/other"),)))
        for leaf in (registry_plan(registry.host, "lab/tool"),)
    )
    plan = ImageIndex(members)
    async with open_node(tmp_path, tag_ttl=0) as node:
        first = await ask(node, plan)
        before = await pull(node, first.token)
        move(registry, repository="lab/other")
        assert (await ask(node, plan)).token != first.token
        assert await pull(node, first.token) == before


@pytest.mark.parametrize("error", [DirectoryUnavailable("it is read-only"), NoSpace("it is full")])
async def test_what_cannot_be_bound_is_not_answered(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OurError
) -> None:
    async with open_node(tmp_path) as node:
        request = await undecided(registry, node, augmented(registry))

        async def bind(token: str, pin: Pin) -> Pin:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(node.records, "bind", bind)
            with pytest.raises(DirectoryUnavailable, match=rf"could not be settled for all nodes: {error.message}"):
                await pull(node, request.token)
        assert (await node.requests.lookup.find(request.token, NOBODY)).pin is None
        await pull(node, request.token)


async def test_a_name_for_everybody_whose_pin_is_private_fails_with_a_sentence(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path) as node:
        request = await undecided(registry, node, augmented(registry))
        known = await node.cache.look_up(request.token)
        private = await node.resolver.pin(augmented(registry), NOBODY)
        pinned = await private.result()
        object.__setattr__(pinned, "public", False)
        with pytest.raises(AccessRefused, match=r"given for everybody.*Send the request again"):
            await (await node.bindings.bind(known, private)).result()
        assert (await node.requests.lookup.find(request.token, NOBODY)).pin is None


async def old_name(node: Node, plan: PlanNode) -> str:
    """Keep a request as a version before 0.2 did."""
    token = await node.records.put(Record(plan, ANONYMOUS), {})
    assert token == asked_token(b"k" * 32, plan, ANONYMOUS)
    return token


async def test_an_earlier_versions_name_is_bound_at_its_first_pull_and_not_given_again(
    registry: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path, tag_ttl=0) as node:
        token = await old_name(node, augmented(registry))
        before = await pull(node, token)
        move(registry)
        assert await pull(node, token) == before
        assert (await ask(node, augmented(registry))).token != token


async def test_it_is_bound_to_what_this_node_has_answered(registry: Registry, tmp_path: Path) -> None:
    async with open_node(tmp_path, tag_ttl=0) as node:
        token = await old_name(node, augmented(registry))
        key, image = await node.resolver.realise(augmented(registry), NOBODY)
        node.served.put(answer_name(token), key, f"{answer_name(token)}/lab/tool:1")
        await node.database.write([])
        move(registry)
        assert await pull(node, token) == image.descriptor.digest


async def test_what_only_another_version_makes_is_answered_while_it_is_here(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(tmp_path) as node:
        request = await ask(node, augmented(registry))
        before = await pull(node, request.token)
        await node.database.write([])
        known = await node.cache.look_up(request.token)
        assert request.pin is not None
        other = Pin(request.pin.parts, "0.9")
        object.__setattr__(known.request, "pin", other)
        assert await pull(node, request.token) == before
        node.served.forget(answer_name(request.token))
        await node.database.write([])
        with pytest.raises(NotFound, match=r"as another version of wavelet makes it \(maker 0\.9"):
            await pull(node, request.token)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_each_name_answers_one_digest(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Asking, tags that move, nodes that restart, slow registries and evictions, in any order."""
    monkeypatch.setattr(directory, "LOOK_AGAIN", (0.0,))
    chance = random.Random(seed)
    shared = tmp_path / "shared"
    answered: dict[str, Digest] = {}
    evicted: set[str] = set()
    async with contextlib.AsyncExitStack() as stack:
        nodes: dict[str, tuple[Node, contextlib.AsyncExitStack]] = {}

        async def start(name: str) -> None:
            mine = contextlib.AsyncExitStack()
            nodes[name] = await mine.enter_async_context(open_node(tmp_path / name, shared=shared, tag_ttl=0)), mine

        async def stop_all() -> None:
            for _, mine in nodes.values():
                await mine.aclose()

        stack.push_async_callback(stop_all)
        for name in ("one", "two"):
            await start(name)
        tokens: list[str] = []
        for turn in range(40):
            name = chance.choice(sorted(nodes))
            node = nodes[name][0]
            match chance.choice(["ask", "ask", "slow", "move", "pull", "pull", "pull", "restart", "evict", "forget"]):
                case "ask":
                    tokens.append((await ask(node, augmented(registry))).token)
                case "slow":
                    registry.fault("/manifests/", delay=0.05, times=1)
                    tokens.append((await ask(node, augmented(registry), wait=0.0)).token)
                case "move":
                    move(registry, turn)
                case "pull" if tokens:
                    token = chance.choice(tokens)
                    try:
                        digest = await pull(node, token)
                    except WaveletError:
                        assert token in evicted
                    else:
                        assert answered.setdefault(token, digest) == digest
                case "restart":
                    await nodes[name][1].aclose()
                    await start(name)
                case "evict":
                    await node.store.room.evict([digest for digest, _, _ in node.store.listing()])
                case "forget" if tokens and chance.random() < 0.3:
                    token = chance.choice(tokens)
                    with contextlib.suppress(NotFound):
                        await node.requests.evictions.evict(token, Identity(0), door="test")
                    evicted.add(token)
        move(registry, 1000)
        tokens.append((await ask(nodes["one"][0], augmented(registry))).token)
        for token in tokens:
            for node, _ in nodes.values():
                with contextlib.suppress(NotFound):
                    digest = await pull(node, token)
                    assert answered.setdefault(token, digest) == digest
    assert len(set(answered.values())) > 1
