"""The images that names have answered, across restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.memo_node import MemoNode, restarting
from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.image.reference import Digest
from wavelet.requests import served as module
from wavelet.requests.served import ServedImages
from wavelet.resolve import memo

RETENTION = 1000.0


class Node(MemoNode):
    def __init__(self, path: Path) -> None:
        super().__init__(path, memo.SCHEMA + module.SCHEMA)
        self.served = ServedImages(self.database, self.memo, Settings(store=Store(retention=RETENTION)))

    def found(self, name: str, content: str) -> bool:
        return self.served.find(name, Digest.of(content.encode())) is not None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Node]]:
    """Return a function that starts a node on the test's database, after the last one was stopped."""
    with restarting(lambda: Node(tmp_path)) as started:
        yield started


async def test_a_name_hands_out_all_that_it_has_answered(start: Callable[[], Node]) -> None:
    node = start()
    node.served.put("name", await node.make("old", "old layer", "shared"))
    node.served.put("name", await node.make("new", "new layer", "shared"))
    node.served.put("other", await node.make("third"))
    for restarted in (False, True):
        each = start() if restarted else node
        assert [found.descriptor.digest for found in each.served.images("name")] == [
            Digest.of(b"new"),
            Digest.of(b"old"),
        ]
        assert all(each.found("name", content) for content in ("old", "old layer", "new", "new layer", "shared"))
        assert not each.found("name", "third")
        assert not each.found("nobody", "old")


async def test_what_was_answered_is_kept_for_the_retention_time(
    start: Callable[[], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, now = start(), time.time()
    old, new = await node.make("old"), await node.make("new")
    node.served.put("name", old)
    monkeypatch.setattr(time, "time", lambda: now + RETENTION - 10)
    node.served.put("name", new)
    assert node.found("name", "old")
    monkeypatch.setattr(time, "time", lambda: now + RETENTION + 10)
    for restarted in (False, True):
        each = start() if restarted else node
        assert not each.found("name", "old")
        assert each.found("name", "new")
    node = start()
    node.served.put("name", old)
    assert node.found("name", "old")


async def test_a_forgotten_name_hands_out_nothing(start: Callable[[], Node]) -> None:
    node = start()
    node.served.put("name", await node.make("one"))
    node.served.forget("name")
    assert not node.found("name", "one")
    assert not start().found("name", "one")


async def test_what_is_in_memory_is_bounded(start: Callable[[], Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "IMAGES_IN_MEMORY", 2)
    monkeypatch.setattr(module, "NAMES_IN_MEMORY", 2)
    node = start()
    keys = [await node.make(f"image {n}") for n in range(5)]
    for number, key in enumerate(keys):
        node.served.put(f"name {number}", key)
    assert len(node.memo._hot) == len(node.served._hot) == 2
    await node.database.write([])
    assert all(node.found(f"name {n}", f"image {n}") for n in range(5))


@pytest.mark.parametrize("restarted", [False, True])
async def test_answers_of_a_clock_that_was_ahead_are_past(
    start: Callable[[], Node], monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    """Fault D2, of what a name hands out."""
    node = start()
    now = time.time()
    key = await node.make("a")
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + 400 * 86400)
        node.served.put("name", key)
        assert node.found("name", "a")
    node = start() if restarted else node
    assert not node.found("name", "a")
    assert list(node.served.all()) == []
    node.served.put("name", key)
    assert node.found("name", "a")
