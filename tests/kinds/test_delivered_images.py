"""Frozen and mirrored images as nodes, and what is noted of what a frozen one came from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import AMD64, Node, open_node, registry_plan
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.conda.model.packages import Package
from wavelet.kinds.frozen.kind import BASE_DIGEST, BASE_NAME, LOCK, PLAN, annotated, provenance
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import canonical, decode, encode, key
from wavelet.plan.node import ContainerConfig
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY

ARM64 = Platform.parse("arm64")
BUSYBOX = RegistryImage(Reference.parse("busybox:1.36"), AMD64)
TARGET = Repository("registry.example", "team/frozen")
CACHE = Repository("registry.example", "team/cache")
CONFIG = ContainerConfig(env=("A=1",))


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        running.add_image("lab/tool", "1")
        yield running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


@pytest.mark.parametrize(
    "plan",
    [
        FrozenImage(BUSYBOX),
        FrozenImage(AugmentedImage(BUSYBOX, CONFIG), TARGET, "imageSuffix", CACHE),
        FrozenImage(ImageIndex(((AMD64, BUSYBOX),)), TARGET),
        MirroredImage(BUSYBOX, TARGET),
    ],
)
def test_a_record_says_all_of_it(plan: PlanNode) -> None:
    assert decode(encode(plan), FORMS) == plan


def test_what_takes_part_in_names_and_in_bytes() -> None:
    plain, pushed = FrozenImage(BUSYBOX), FrozenImage(BUSYBOX, TARGET)
    assert len({canonical(each) for each in (BUSYBOX, plain, pushed, FrozenImage(BUSYBOX, TARGET, "none"))}) == 4
    assert canonical(FrozenImage(BUSYBOX, TARGET, cache=CACHE)) == canonical(pushed)
    assert key(plain) == key(pushed) != key(BUSYBOX)
    assert (
        canonical(plain)
        == b'{"plan":{"frozen":{"from":"docker.io/library/busybox:1.36","platform":"linux/amd64"}},"version":1}'
    )
    mirrored = MirroredImage(BUSYBOX, TARGET)
    assert key(mirrored) == key(MirroredImage(BUSYBOX, CACHE))
    assert canonical(mirrored) != canonical(MirroredImage(BUSYBOX, CACHE))


def test_annotations_that_are_there_stay() -> None:
    noted = json.loads(annotated(b'{"layers":[],"annotations":{"a":"1","b":"2"}}', {"b": "3", PLAN: "p"}))
    assert noted == {"layers": [], "annotations": {"a": "1", "b": "2", PLAN: "p"}}


def test_the_locks_of_packages_are_noted() -> None:
    package = Package.of("https://conda.test/c/linux-64/tool-1-0.conda", "ab" * 32, None, None, "packages")
    lock = LockedEnvironment((package,), (), AMD64, BUSYBOX)
    listed = f"# platform: linux-64\n@EXPLICIT\n{package.url}#sha256:{package.sha256}\n"
    digest = str(Digest.of(listed.encode()))
    assert provenance(AugmentedImage(lock, CONFIG))[LOCK] == digest
    other = LockedEnvironment((package,), (), ARM64, lock)
    assert provenance(other)[LOCK] == f"{other.lock_digest},{digest}"


async def test_an_image_with_nothing_to_add_keeps_its_digest(node: Node, registry: Registry) -> None:
    plain = registry_plan(registry.host, "lab/tool")
    _, image = await node.resolver.realise(plain, NOBODY)
    for plan in (FrozenImage(plain), MirroredImage(plain, TARGET)):
        _, same = await node.resolver.realise(plan, NOBODY)
        assert same.descriptor == image.descriptor


async def test_what_it_came_from_is_noted_and_nothing_that_moves(node: Node, registry: Registry) -> None:
    augmented = AugmentedImage(registry_plan(registry.host, "lab/tool"), CONFIG)
    (pinned,) = (await node.resolver.pinned(FrozenImage(augmented), NOBODY)).plan.children
    _, image = await node.resolver.realise(FrozenImage(augmented), NOBODY)
    document = json.loads(await node.resolver.read(image.closure[image.descriptor.digest], NOBODY))
    base = pinned.children[0]
    assert document["annotations"] == {
        BASE_NAME: f"{registry.host}/lab/tool",
        BASE_DIGEST: str(base.digest),
        PLAN: f"sha256:{key(pinned)}",
    }
    other = AugmentedImage(registry_plan(registry.host, "lab/tool", "1"), CONFIG)
    assert (await node.resolver.realise(FrozenImage(other), NOBODY))[1].descriptor == image.descriptor
