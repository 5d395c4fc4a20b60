"""What was made, across restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.makers import made_by
from lab.memo_node import MemoNode, image, restarting
from wavelet.image.image import Content, Descriptor, FromLocation, FromUpstream, Image, MadeBy, Source
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.conda.model.node import LockedEnvironment
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import key as key_of
from wavelet.resolve import memo as module
from wavelet.resolve.memo import decode_image, encode_image

DIGESTS = st.integers(0, 50).map(lambda n: Digest.of(str(n).encode()))
SOURCES: st.SearchStrategy[Source] = st.one_of(
    st.builds(FromUpstream, st.builds(Repository, st.sampled_from(["docker.io", "h:5000"]), st.just("a/b"))),
    st.builds(FromLocation, st.sampled_from(["https://x/ü?a=b", "inline:0"]), DIGESTS),
    st.builds(MadeBy, st.just("0" * 64)),
)
CONTENTS = st.builds(Content, st.builds(Descriptor, st.text(max_size=5), DIGESTS, st.integers(0, 2**60)), SOURCES)


@given(st.lists(CONTENTS, min_size=1, max_size=6))
def test_an_image_reads_back_the_same(contents: list[Content]) -> None:
    image = Image.of(contents[0].descriptor, contents)
    assert decode_image(encode_image(image)) == image
    assert image.closure[image.descriptor.digest] == contents[0]
    assert len(image.closure) == len({content.descriptor.digest for content in contents})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], MemoNode]]:
    """Return a function that starts a node on the test's database, after the last one was stopped."""
    with restarting(lambda: MemoNode(tmp_path)) as started:
        yield started


async def test_what_was_made_is_remembered_with_its_plan(start: Callable[[], MemoNode]) -> None:
    node = start()
    key = await node.make("one", "layer")
    for restarted in (False, True):
        each = start() if restarted else node
        assert each.memo.get(key) == image("one", "layer")
        plan = each.memo.plan(key)
        assert plan is not None
        assert key_of(plan) == key
        assert each.memo.get("unknown") is None
        assert each.memo.plan("unknown") is None


async def test_a_plan_of_another_version_is_as_good_as_not_there(start: Callable[[], MemoNode]) -> None:
    node = start()
    key = await node.make("one")
    await node.database.write([("UPDATE images SET plan = ?", (b'{"version":99}',))])
    assert node.memo.plan(key) is None
    assert node.memo.get(key) is not None


async def test_a_plan_of_another_maker_is_made_by_nobody(
    start: Callable[[], MemoNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    memo, plan = start().memo, LockedEnvironment((), (), Platform.parse("amd64"), RegistryImage(Reference.parse("a/b")))
    key = key_of(plan)
    await memo.put(key, plan, image("one"))
    assert memo.plan(key) == plan
    made_by(monkeypatch, LockedEnvironment, "image_maker", 99)
    assert memo.plan(key) is None, "what this version makes of it has other bytes"
    assert memo.get(key) == image("one"), "what is there goes on being served"


async def test_images_that_nobody_asks_for_are_forgotten_in_the_end(
    start: Callable[[], MemoNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, now = start(), time.time()
    unused, used = await node.make("unused"), await node.make("used")
    monkeypatch.setattr(time, "time", lambda: now + module.UNUSED_LIFETIME - 10)
    node = start()
    assert node.memo.get(used)
    node = start()
    monkeypatch.setattr(time, "time", lambda: now + module.UNUSED_LIFETIME + 10)
    node.memo.expire()
    node = start()
    assert node.memo.get(used)
    assert node.memo.get(unused) is None


async def test_what_is_in_memory_is_bounded(start: Callable[[], MemoNode], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES_IN_MEMORY", 2)
    node = start()
    keys = [await node.make(f"image {n}") for n in range(5)]
    assert len(node.memo._hot) == 2
    assert all(node.memo.get(key) == image(f"image {n}") for n, key in enumerate(keys))


async def test_what_an_image_in_use_was_made_of_is_remembered(
    start: Callable[[], MemoNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts are made again by their own plans, when they were evicted: nobody asks for these before."""
    node, now = start(), time.time()
    layer, unused = await node.make("layer"), await node.make("unused")
    content = Content(Descriptor("x", Digest.of(b"layer"), 1), MadeBy(layer))
    plan = RegistryImage(Reference.parse("quay.io/a/b").at(Digest.of(b"whole")))
    await node.memo.put(key_of(plan), plan, Image.of(content.descriptor, [content]))
    for days in (60, 120):
        monkeypatch.setattr(time, "time", lambda days=days: now + days * 86400)
        node = start()
        assert node.memo.get(key_of(plan)) is not None
        node.memo.expire()
        await node.database.write([])
    assert node.memo.plan(layer) is not None
    assert node.memo.plan(unused) is None
