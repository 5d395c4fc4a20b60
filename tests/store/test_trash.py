"""What is to be removed: gone from its place at once, and no reason not to start."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from opened import Opened

from wavelet import directory_trees
from wavelet.store.files import Trash


def deep(top: Path) -> None:
    """Make a tree that recursion does not get to the end of."""
    top.mkdir(parents=True)
    here = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_a_store_opens_over_a_tree_that_is_deep(tmp_path: Path, open_store: Callable[..., Opened]) -> None:
    """Fault G1: what an image has left behind does not keep the daemon from starting."""
    deep(tmp_path / "partial" / "left")
    store = open_store()
    assert store.partials() == []
    assert store._trash.wait(20)
    assert list((tmp_path / "trash").iterdir()) == []


def test_a_store_opens_over_what_cannot_be_removed(
    tmp_path: Path, open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault G1: what cannot be removed is set aside and said, and the daemon starts."""

    def busy(path: Path) -> None:
        raise OSError(16, "Device or resource busy")

    deep(tmp_path / "partial" / "left")
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as said:
        patch.setattr(directory_trees, "remove", busy)
        for _ in range(2):
            store = open_store()
            assert store.partials() == []
            assert store._trash.wait(20)
    left = [line for line in said if "cannot be removed" in line["event"]]
    assert [Path(line["path"]).parent for line in left] == [tmp_path / "trash"] * 2
    assert "busy" in left[0]["because"]
    assert open_store()._trash.wait(20), "once nothing stands against it any more, it goes"
    assert list((tmp_path / "trash").iterdir()) == []


async def test_nobody_waits_for_what_is_being_removed(
    tmp_path: Path, store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, remove = threading.Event(), directory_trees.remove

    def slowly(path: Path) -> None:
        assert going.wait(20)
        remove(path)

    monkeypatch.setattr(directory_trees, "remove", slowly)
    async with store.scratch(1000, "a test") as directory:
        (directory / "one").write_text("1")
    assert not directory.exists()
    assert store.account()[1] == 1000, "its bytes count until they are free"
    going.set()
    await store.tidied()
    assert store.account()[1] == 0


async def test_a_reservation_waits_for_what_is_being_removed(open_store: Callable[..., Opened]) -> None:
    store = open_store(1000)
    kept = await store.keep(b"k" * 200)
    async with store.scratch(700, "a test") as directory:
        (directory / "one").write_text("1")
    async with store.scratch(700, "another"):
        assert store.has(kept), "nothing had to be evicted"


def test_a_directory_that_was_tidied_away_is_made_anew(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    (tmp_path / "trash").rmdir()
    (tmp_path / "file").write_text("1")
    trash.discard(tmp_path / "file")
    trash.discard(tmp_path / "never there")
    assert trash.wait(20)
    assert [path.name for path in tmp_path.iterdir()] == ["trash"]
