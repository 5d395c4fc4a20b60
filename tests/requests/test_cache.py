"""The store as an administrator sees it: lists, pins that hold, and what collecting takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doubles.registry import Registry, small_layer
from lab.node import AMD64, Node, open_node, registry_plan
from wavelet.errors import NotFound
from wavelet.image.reference import Digest
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.tokens import NOBODY
from wavelet.requests.cache import Cache
from wavelet.requests.prefetch import Prefetcher
from wavelet.store.room import Counted

SHARED = small_layer({"shared": b"by both" * 500})


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


class Held:
    """A store with two images that share a layer; `digests` are manifest, configuration, own layer, shared layer."""

    def __init__(self, node: Node, host: str) -> None:
        self.node = node
        self.host = host
        self.cache = Cache(node.store, node.served, node.hosted, node.records)
        self.digests: dict[str, list[Digest]] = {}

    async def add(self, registry: Registry, name: str) -> None:
        image = registry.add_image(name, "1", [small_layer({"own": name.encode() * 500}), SHARED])
        self.digests[name] = [Digest(image["manifest"]), Digest(image["config"]), *map(Digest, image["layers"])]
        await self.take(registry_plan(self.host, name))

    async def take(self, *plans: RegistryImage, lease: float = -1.0) -> None:
        prefetcher = Prefetcher(self.node.resolver, self.node.store, self.node.served)
        taken = [each async for each in prefetcher.take(plans, NOBODY, concurrency=1, lease=lease)]
        assert taken[-1].done, taken[-1].error

    def here(self, name: str) -> list[bool]:
        return [bool(self.node.store.size_of(digest)) for digest in self.digests[name]]


@pytest.fixture
async def held(tmp_path: Path, registry: Registry) -> AsyncIterator[Held]:
    async with open_node(tmp_path / "state") as node:
        made = Held(node, registry.host)
        for name in ("lab/one", "lab/two"):
            await made.add(registry, name)
        yield made


def size(held: Held, digests: list[Digest]) -> int:
    return sum(held.node.store.size_of(digest) for digest in digests)


async def test_lists(held: Held) -> None:
    two, one = held.cache.images()
    assert (two.name, one.name) == (f"{held.host}/lab/two:1", f"{held.host}/lab/one:1")
    assert one.digest == held.digests["lab/one"][0]
    assert one.size == one.full_size == size(held, held.digests["lab/one"])
    assert (one.pinned, one.leased_until) == (False, None)
    assert abs(one.last_used - time.time()) < 30
    await held.take(registry_plan(held.host, "lab/one"), lease=500.0)
    one = next(each for each in held.cache.images() if each.name.endswith("one:1"))
    assert one.leased_until is not None
    assert abs(one.leased_until - time.time() - 500) < 30
    await held.cache.collect([str(held.digests["lab/one"][2])])
    one = next(each for each in held.cache.images() if each.name.endswith("one:1"))
    assert 0 < one.size < one.full_size
    blobs = list(held.cache.blobs())
    assert {each.digest for each in blobs} == {*held.digests["lab/one"], *held.digests["lab/two"]} - {
        held.digests["lab/one"][2]
    }
    stats = await held.cache.stats()
    assert (stats.blobs, stats.size) == (len(blobs), sum(each.size for each in blobs))
    assert (stats.pinned, stats.leased) == (0, one.size)
    assert stats.free > 0 == stats.reserved < stats.limit


async def test_what_a_pinned_image_needs_stays(held: Held) -> None:
    one, two = held.digests["lab/one"], held.digests["lab/two"]
    assert await held.cache.pin([f"{held.host}/lab/one:1"]) == Counted(4, size(held, one))
    assert [each.pinned for each in held.cache.images()] == [False, True]
    expected = Counted(3, size(held, two[:3]))
    assert await held.cache.collect([str(two[0]), f"{held.host}/lab/one"]) == expected
    assert held.here("lab/one") == [True] * 4
    assert held.here("lab/two") == [False, False, False, True]
    assert await held.cache.collect() == Counted(0, 0)
    await held.take(registry_plan(held.host, "lab/two"))
    await held.cache.pin([str(two[0])])
    # The layer that both need is pinned until the last of them is not.
    assert await held.cache.unpin([f"{held.host}/lab/one:1"]) == Counted(3, size(held, one[:3]))
    assert await held.cache.collect(keep=10**9) == Counted(0, 0)
    assert (await held.cache.collect()).blobs == 3
    assert held.here("lab/one") == [False, False, False, True]
    assert await held.cache.unpin([str(two[0])]) == Counted(4, size(held, two))


async def test_pins_hold_for_what_comes_later_and_after_a_restart(
    held: Held, registry: Registry, tmp_path: Path
) -> None:
    one = held.digests["lab/one"]
    await held.cache.collect([str(one[2])])
    assert (await held.cache.pin([f"{held.host}/lab/one:1"])).blobs == 3
    await held.take(registry_plan(held.host, "lab/one"))
    await held.cache.collect()
    assert held.here("lab/one") == [True] * 4
    held.node.served.forget(f"{held.host}/lab/one")
    assert [each.name for each in held.cache.images() if each.pinned] == [f"{held.host}/lab/one:1"]
    async with contextlib.AsyncExitStack() as stack:
        await held.node._stack.aclose()
        again = Held(await stack.enter_async_context(open_node(tmp_path / "state")), held.host)
        again.digests = held.digests
        await again.cache.collect()
        assert again.here("lab/one") == [True] * 4
        assert (await again.cache.unpin([f"{held.host}/lab/one:1"])).blobs == 4
        await again.cache.collect()
        assert again.here("lab/one") == [False] * 4


async def test_an_index_has_the_platforms_that_were_pulled(held: Held, registry: Registry) -> None:
    image = registry.add_image("lab/many", None, [small_layer({"a": b"amd64"})])
    other = registry.add_image("lab/many", None, [small_layer({"a": b"arm64"})], platform="linux/arm64")
    index = registry.add_index("lab/many", "1", [image, other])
    whole = RegistryImage(registry_plan(held.host, "lab/many").reference)
    await held.take(whole, RegistryImage(whole.reference, AMD64))
    await held.cache.pin([f"{held.host}/lab/many:1"])
    await held.cache.collect()
    store = held.node.store
    assert all(store.size_of(Digest(each)) for each in (index, image["manifest"], image["config"], *image["layers"]))
    assert not store.size_of(held.digests["lab/one"][0])


async def test_names_that_are_not_there(held: Held) -> None:
    for name in ("lab/absent:1", "not a name", f"sha256:{'0' * 64}"):
        for call in (held.cache.pin, held.cache.unpin, held.cache.collect):
            with pytest.raises(NotFound, match="wavelet cache ls"):
                await call([f"{held.host}/lab/one:1", name] if call != held.cache.unpin else [name])
    assert held.here("lab/one") == [True] * 4
    blob = str(held.digests["lab/one"][3])
    assert (await held.cache.pin([blob])).blobs == 1
    await held.cache.collect()
    assert held.here("lab/one") == [False, False, False, True]
