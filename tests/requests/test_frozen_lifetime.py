"""Frozen names: what they answer is known for as long as they live, and is kept where it cannot be made again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.memo_node import MemoNode, restarting
from lab.node import Node, open_node, registry_plan
from wavelet.config import Settings
from wavelet.config.settings import Freeze, Store
from wavelet.errors import AccessRefused, NotFound, TokenNotFound
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.plan import canonical
from wavelet.plan.node import ContainerConfig
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.requests import served as module
from wavelet.requests.cache import Cache, Kept
from wavelet.requests.frozen_content import FrozenContent
from wavelet.requests.request import ContainerRequest, answer_name
from wavelet.requests.served import ServedImages
from wavelet.resolve import memo

LIFETIME = 200 * 86400.0
DAY = 86400.0
TOKEN = "ab" * 16


class Names(MemoNode):
    def __init__(self, path: Path) -> None:
        super().__init__(path, memo.SCHEMA + module.SCHEMA)
        settings = Settings(store=Store(retention=DAY), freeze=Freeze(lifetime=LIFETIME))
        self.served = ServedImages(self.database, self.memo, settings)

    async def tags(self, content: str, path: str = "tool") -> list[str]:
        return [tag async for tag in self.served.frozen_tags(path, Digest.of(content.encode()))]

    async def expire(self) -> None:
        self.served.expire()
        await self.database.write([])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Names]]:
    """Return a function that starts a node on the test's database, after the last one was stopped."""
    with restarting(lambda: Names(tmp_path)) as started:
        yield started


async def test_digests_are_known_for_as_long_as_the_name_lives(
    start: Callable[[], Names], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, now = start(), time.time()
    node.served.frozen.put("tool", f"1--{TOKEN}", await node.make("one", "layer"))
    node.served.frozen.put("other", f"1--{TOKEN}", await node.make("two", "layer"))
    for day in range(0, 200, 40):
        monkeypatch.setattr(time, "time", lambda days=day: now + days * DAY)
        await node.expire()
        node = start()
        assert await node.tags("layer") == [f"1--{TOKEN}"]
        assert await node.tags("one") == [f"1--{TOKEN}"]
        assert await node.tags("two") == []
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME + 1)
    assert await node.tags("layer") == []
    await node.expire()
    assert start().served.frozen.all() == []


async def test_the_latest_name_is_the_first_and_a_forgotten_one_is_none(start: Callable[[], Names]) -> None:
    node = start()
    one, two = await node.make("one", "layer"), await node.make("two", "layer")
    for tag, key in (("a", one), ("b", two), ("a", one)):
        node.served.frozen.put("tool", tag, key)
    assert await node.tags("layer") == ["a", "b"]
    node.served.frozen.forget("tool", "a")
    await node.database.write([])
    assert await node.tags("layer") == ["b"]
    assert await start().tags("layer") == ["b"]


async def test_looking_for_a_digest_puts_no_image_out_of_memory(start: Callable[[], Names]) -> None:
    node = start()
    node.served.frozen.put("tool", f"1--{TOKEN}", await node.make("one", "layer"))
    await node.database.write([])
    node = start()
    assert await node.tags("other") == []
    assert not node.memo._hot, "a path may have more names than images are kept in memory"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path) as made:
        yield made


def frozen(registry: Registry) -> FrozenImage:
    return FrozenImage(AugmentedImage(registry_plan(registry.host, "lab/tool"), ContainerConfig(env=("A=1",))))


def name_of(request: ContainerRequest) -> str:
    assert request.plan.delivery is not None
    return request.plan.delivery.own_name(request.token)


async def answer(node: Node, request: ContainerRequest) -> Digest:
    """Pull a name as the registry's door does."""
    delivery = request.plan.delivery
    assert delivery is not None
    key, image = await node.requests.pulls.realise(request.token, NOBODY)
    node.served.put(answer_name(request.token), key, name_of(request))
    node.served.frozen.put(delivery.path, delivery.tag(request.token), key)
    await node.database.write([])
    return image.descriptor.digest


async def listed(node: Node) -> list[Kept]:
    cache = Cache(node.store, node.served, node.hosted, node.records)
    return [*cache.images(), *[each async for each in cache.absent()]]


async def test_it_is_listed_whether_anything_of_it_is_here(registry: Registry, node: Node) -> None:
    request = await node.submit(frozen(registry))
    await node.submit(registry_plan(registry.host, "lab/tool"))
    (kept,) = await listed(node)
    assert (kept.name, kept.digest, kept.size, kept.frozen) == (name_of(request), None, 0, True)
    digest = await answer(node, request)
    (kept,) = await listed(node)
    assert (kept.name, kept.digest, kept.frozen) == (name_of(request), digest, True)
    assert kept.size > 0
    cache = Cache(node.store, node.served, node.hosted, node.records)
    await cache.collect([name_of(request)])
    (kept,) = await listed(node)
    assert (kept.name, kept.digest, kept.size, kept.frozen) == (name_of(request), digest, 0, True)


async def test_it_is_pinned_by_its_name_long_after_it_was_pulled(
    registry: Registry, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await node.submit(frozen(registry))
    await answer(node, request)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100 * DAY)
    cache = Cache(node.store, node.served, node.hosted, node.records)
    assert (await cache.pin([name_of(request)])).blobs > 0
    assert [(kept.name, kept.pinned) for kept in await listed(node)] == [(name_of(request), True)]


async def test_its_lifetime_is_what_is_told(registry: Registry, node: Node) -> None:
    for lifetime, plan in ((365 * DAY, frozen(registry)), (3600.0, registry_plan(registry.host, "lab/tool"))):
        request = await node.submit(plan)
        assert abs(request.expires_at - time.time() - lifetime) < 60


async def test_who_may_remove_it_and_that_nothing_is_left(registry: Registry, node: Node) -> None:
    request = await node.submit(frozen(registry))
    await answer(node, request)
    with pytest.raises(AccessRefused):
        await node.requests.evictions.evict(request.token, Identity(1000), door="grpc")
    assert len(await listed(node)) == 1
    await node.requests.evictions.evict(request.token, Identity(0), door="grpc")
    await node.database.write([])
    assert await listed(node) == []
    assert node.served.frozen.all() == []
    with pytest.raises(TokenNotFound):
        await node.requests.pulls.realise(request.token, NOBODY)


async def test_what_it_was_made_of_is_remembered_for_as_long_as_it_lives(
    registry: Registry, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await node.submit(frozen(registry))
    other = await node.submit(FrozenImage(registry_plan(registry.host, "lab/base")))
    digest, forgotten = await answer(node, request), await answer(node, other)
    assert other.plan.delivery is not None
    node.served.frozen.forget("lab/base", other.plan.delivery.tag(other.token))
    content = FrozenContent(node.served.frozen, node.memo, node.store, node.resolver)
    now = time.time()
    for days in range(60, 360, 60):
        monkeypatch.setattr(time, "time", lambda days=days: now + days * DAY)
        await content.renew()
        node.memo.expire()
        node.served.expire()
        await node.database.write([])
    node.memo._hot.clear()
    path, tag = name_of(request).removeprefix("frozen/").split(":")
    assert [each async for each in node.served.frozen_tags(path, digest)] == [tag]
    kept = {each for (each,) in node.database.read("SELECT key FROM images")}
    image = node.served.frozen.image(path, tag)
    assert image is not None
    assert image.makers <= kept
    assert forgotten not in [image.descriptor.digest for key in kept if (image := node.memo.peek(key))]


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return a function that has frozen images be made by another version of their maker, as after an upgrade."""

    def act() -> None:
        monkeypatch.setattr(FrozenImage, "version", 2)
        canonical._tree_key.cache_clear()

    yield act
    monkeypatch.undo()
    canonical._tree_key.cache_clear()


async def test_what_only_another_version_makes_stays_and_is_answered(
    registry: Registry, node: Node, upgrade: Callable[[], None]
) -> None:
    request = await node.submit(frozen(registry))
    digest = await answer(node, request)
    other = await node.submit(registry_plan(registry.host, "lab/tool"))
    await node.requests.pulls.realise(other.token, NOBODY)
    content = FrozenContent(node.served.frozen, node.memo, node.store, node.resolver)
    await content.keep()
    assert not node.store.retention.stays(digest)  # this version makes it
    upgrade()
    await content.keep()
    assert node.store.retention.stays(digest)
    await node.store.room.shrink(0)
    assert node.store.size_of(digest)
    node.served.forget(answer_name(request.token))
    node.cache.forget(request.token)
    assert (await node.requests.pulls.realise(request.token, NOBODY))[1].descriptor.digest == digest
    await node.requests.evictions.evict(request.token, Identity(0), door="grpc")
    with pytest.raises(NotFound):
        await node.requests.pulls.realise(request.token, NOBODY)


async def test_a_name_that_is_given_before_its_pin_is_known_answers_one_digest_on_all_nodes(
    registry: Registry, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    async with (
        open_node(tmp_path / "one", shared=shared, tag_ttl=0) as one,
        open_node(tmp_path / "two", shared=shared, tag_ttl=0) as two,
    ):
        registry.fault("/manifests/", delay=0.5)
        request = (await one.ask(frozen(registry), wait=0.0)).request
        assert request.pin is None
        assert name_of(request).startswith("frozen/lab/tool:1--")
        answered = await answer(two, request)  # it waits for whoever pins it first
        registry.clear_faults()
        registry.add_image("lab/tool", "1", [small_layer({"moved": b"1"})])
        assert await answer(one, request) == answered
        assert await answer(two, request) == answered
        again = (await one.ask(frozen(registry))).request
        assert again.token != request.token
        assert await answer(one, again) != answered
        assert {kept.name for kept in await listed(two)} == {name_of(request), name_of(again)}
