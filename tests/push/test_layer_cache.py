"""Layers of packages in a repository: a node makes none that another one with its key has put there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from doubles.registry import Registry as Double
from lab.node import AMD64, KEY, Node, open_node, package, registry_plan
from lab.registry import Registry
from wavelet.image.image import OCI_MANIFEST, Content, Descriptor, Image, MadeBy
from wavelet.image.reference import Digest, Reference
from wavelet.kinds.conda.model.node import LockedEnvironment, PackageLayer
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.kind import Work
from wavelet.plan.canonical import key as key_of
from wavelet.plan.tokens import NOBODY
from wavelet.push import layer_cache
from wavelet.push.layer_entry import entry_of, tag_of

PACKAGES = tuple(package(name) for name in ("a", "b", "c"))
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OTHERS = b"o" * 32


class Maker:
    """Makes layers of packages, and images of these, and counts the layers."""

    def __init__(self) -> None:
        self.linked: list[str] = []

    async def layer(self, plan: PackageLayer, work: Work) -> Image:
        self.linked.append(plan.package.name)
        layer = await work.keep(plan.package.name.encode() * 1000, LAYER)
        own = await work.keep(f"about {plan.package.name}".encode(), "application/vnd.wavelet.layer.v1+json")
        return Image.of(own.descriptor, [own, layer])

    async def image(self, plan: LockedEnvironment, work: Work) -> Image:
        made = await asyncio.gather(*(work.realise(PackageLayer(each)) for each in plan.packages))
        layers = [image.contents[1] for image in made]
        config = await work.keep(b"{}", "application/vnd.oci.image.config.v1+json")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor.as_json(),
            "layers": [each.descriptor.as_json() for each in layers],
        }
        own = await work.keep(json.dumps(manifest).encode(), OCI_MANIFEST)
        return Image.of(own.descriptor, [own, config, *layers])


class Site:
    """Nodes, and the registry with their base; `cache` is the repository that requests name."""

    def __init__(self, double: Double, directory: Path, stack: AsyncExitStack) -> None:
        self.double = double
        self.cache = f"{double.host}/team/cache"
        self._directory = directory
        self._stack = stack
        self._count = 0

    async def node(self, key: bytes = KEY) -> tuple[Node, Maker]:
        """Open one more node, which has nothing of the others."""
        self._count += 1
        node = await self._stack.enter_async_context(open_node(self._directory / f"node{self._count}", key=key))
        maker = Maker()
        node.makers.update({PackageLayer: maker.layer, LockedEnvironment: maker.image})
        return node, maker

    def plan(self, *packages: Package, cached: bool = True) -> FrozenImage:
        locked = LockedEnvironment(packages or PACKAGES, (), AMD64, registry_plan(self.double.host, "lab/base"))
        return FrozenImage(locked, cache=Reference.parse(self.cache).repository if cached else None)

    async def made(self, node: Node, plan: FrozenImage | None = None) -> Image:
        """Make an image, and wait until its layers are put."""
        _, image = await node.resolver.realise(plan or self.plan(), NOBODY)
        await node.until_tidy()
        return image

    async def log(self, node: Node) -> str:
        plan = self.plan()
        return node.resolver.log(plan, (await node.resolver.pinned(plan, NOBODY)).plan)


@pytest.fixture
async def site(double: Double, tmp_path: Path) -> AsyncIterator[Site]:
    double.add_image("lab/base", "1")
    async with AsyncExitStack() as stack:
        yield Site(double, tmp_path, stack)


async def _second_links_none(site: Site) -> None:
    one, first = await site.node()
    image = await site.made(one)
    assert sorted(first.linked) == ["a", "b", "c"]
    two, second = await site.node()
    again = await site.made(two)
    assert second.linked == []
    assert again == image
    assert again.contents == image.contents, "made by the same plans, wherever the bytes came from"
    assert await two.resolver.read(again.contents[2], NOBODY) == b"a" * 1000
    assert (await site.log(two)).count(f"fetched from {site.cache}") == 3


async def test_a_second_node_links_no_package(site: Site) -> None:
    await _second_links_none(site)


@pytest.mark.registry
async def test_in_a_real_registry(site: Site, target: Registry) -> None:
    site.cache = f"{target.host}/team/cache"
    await _second_links_none(site)


async def test_what_is_known_is_neither_looked_for_nor_put(site: Site) -> None:
    one, _ = await site.node()
    await site.made(one, site.plan(cached=False))
    assert site.double.count(pattern="/team/cache") == 0
    await site.made(one, site.plan(*PACKAGES, package("d")))
    assert site.double.count("GET", "/team/cache/manifests/") == 1
    assert site.double.count("PUT", "/team/cache/manifests/") == 1


async def test_each_layer_once_however_many_ask(site: Site) -> None:
    one, maker = await site.node()
    await asyncio.gather(*(site.made(one, site.plan(*PACKAGES[:number])) for number in (1, 2, 3)))
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert site.double.count("PUT", "/team/cache/manifests/") == 3


async def _put_entry(site: Site, secret: bytes, tag: str, name: str, data: bytes) -> None:
    """Put an entry of the layer of a package, as somebody would who has a key."""
    node, _ = await site.node()
    key = key_of(PackageLayer(package(name)))
    contents = [Content(Descriptor(LAYER, Digest.of(each), len(each)), MadeBy(key)) for each in (b"about", data)]
    repository = Reference.parse(site.cache).repository
    for each in (b"about", data):
        site.double.add_blob("team/cache", each)
    entry = entry_of(secret, key, Image.of(contents[0].descriptor, contents))
    await node.upstream.pusher.push_manifest(repository, tag, entry, OCI_MANIFEST, NOBODY)


async def test_a_poisoned_entry_is_not_used_and_replaced(site: Site) -> None:
    key = key_of(PackageLayer(package("a")))
    await _put_entry(site, OTHERS, tag_of(KEY, key), "a", b"evil")
    one, maker = await site.node()
    await site.made(one)
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert "was not put there by a node of this cluster" in await site.log(one)
    two, second = await site.node()
    await site.made(two)
    assert second.linked == [], "what was wrong there has been replaced"


async def test_an_entry_for_another_layer_is_not_used(site: Site) -> None:
    await _put_entry(site, KEY, tag_of(KEY, key_of(PackageLayer(package("b")))), "a", b"a")
    one, maker = await site.node()
    await site.made(one)
    assert "b" in maker.linked


async def test_bytes_that_are_not_those_of_the_entry_are_not_used(site: Site) -> None:
    one, _ = await site.node()
    image = await site.made(one)
    site.double.fault(f"/team/cache/blobs/{image.contents[2].descriptor.digest}", body=b"b" * 1000)
    two, maker = await site.node()
    assert await site.made(two) == image
    assert "a" in maker.linked


async def test_entries_of_another_key_are_not_used(site: Site) -> None:
    one, _ = await site.node(OTHERS)
    await site.made(one)
    two, maker = await site.node()
    await site.made(two)
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert "cacheRepository" not in await site.log(two), "their tags are others"


async def test_a_registry_that_is_down_is_noted_once(site: Site) -> None:
    site.cache = "127.0.0.1:1/team/cache"
    one, maker = await site.node()
    await site.made(one)
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert (await site.log(one)).count("cacheRepository: layers are not looked for in 127.0.0.1:1/team/cache") == 1


async def test_a_registry_that_does_not_answer_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_cache, "LOOK_LIMIT", 0.3)
    monkeypatch.setattr(layer_cache, "PUT_LIMIT", 0.3)
    site.double.fault("/team/cache/", delay=30.0)
    one, maker = await site.node()
    begun = time.monotonic()
    await site.made(one)
    assert time.monotonic() - begun < 4
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert "it does not answer in time" in await site.log(one)


async def test_who_may_not_push_gets_the_image_all_the_same(site: Site) -> None:
    site.double.fault("/team/cache/blobs/uploads", status=403)
    one, maker = await site.node()
    await site.made(one)
    assert sorted(maker.linked) == ["a", "b", "c"]
    assert (await site.log(one)).count("layers are not put in") == 1


async def test_what_not_everybody_may_have_is_not_put(site: Site) -> None:
    one, maker = await site.node()
    private = Package.of("file:///srv/channel/linux-64/a-1.0-0.conda", "ab" * 32, None, 10)
    await site.made(one, site.plan(private))
    assert maker.linked == ["a"]
    assert site.double.count(pattern="/team/cache") == 0
