"""Directories that are made once and read by many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from opened import Opened

from wavelet.errors import NoSpace


class Maker:
    """Fills directories, and counts how often."""

    def __init__(self, size: int = 100) -> None:
        self.filled = 0
        self._size = size

    async def size(self) -> int:
        return self._size

    async def fill(self, directory: Path) -> None:
        await asyncio.sleep(0)
        self.filled += 1
        (directory / "file").write_text("1")


async def test_a_directory_is_made_once_for_all(store: Opened) -> None:
    maker = Maker()

    async def read() -> Path:
        async with store.trees.read("one", maker.size, maker.fill) as directory:
            assert (directory / "file").read_text() == "1"
            return directory

    assert len(set(await asyncio.gather(*(read() for _ in range(5))))) == 1
    assert await read()
    assert maker.filled == 1
    assert store.account() == (0, 100), "its bytes count"


async def test_only_the_latest_are_kept(store: Opened) -> None:
    makers = [Maker() for _ in range(4)]
    for _ in range(2):
        for number, maker in enumerate(makers):
            async with store.trees.read(str(number), maker.size, maker.fill):
                pass
    await store.tidied()
    assert [maker.filled for maker in makers] == [2, 2, 2, 2]
    assert store.account() == (0, 200)


async def test_they_give_way_before_any_blob_does(open_store: Callable[..., Opened]) -> None:
    store, maker = open_store(1000), Maker(500)
    kept = await store.keep(b"k" * 300)
    async with store.trees.read("one", maker.size, maker.fill) as directory:
        with pytest.raises(NoSpace):
            await store.room.reserve(900, "a test")
        assert directory.exists(), "it is read"
    async with store.scratch(600, "a test"):
        assert store.has(kept)
        assert not directory.exists()


async def test_one_that_cannot_be_filled_leaves_nothing(store: Opened, open_store: Callable[..., Opened]) -> None:
    async def fill(directory: Path) -> None:
        (directory / "file").write_text("1")
        raise NoSpace("a test")

    with pytest.raises(NoSpace):
        async with store.trees.read("one", Maker().size, fill):
            pytest.fail("there is none")
    await store.tidied()
    assert store.account() == (0, 0)
    assert list((store.directory / "trees").iterdir()) == []
    (store.directory / "trees" / "left").mkdir()
    open_store()
    assert not (store.directory / "trees" / "left").exists()
