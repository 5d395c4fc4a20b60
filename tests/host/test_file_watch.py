"""What counts as a change of a file, however it is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from wavelet.config import Source
from wavelet.host import watch
from wavelet.host.watch import Watcher

SEEN = 5.0
"""Seconds within which a change has to be seen."""

Watching = Callable[[Path], Awaitable[Watcher]]


@pytest.fixture
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    monkeypatch.setattr(watch, "QUIET", 0.05)
    opened: list[Watcher] = []

    async def start(path: Path) -> Watcher:
        opened.append(Watcher(Source(path, {}, {}).files))
        await opened[-1].start()
        return opened[-1]

    yield start
    for each in opened:
        await each.close()


async def sees(watcher: Watcher, seconds: float = SEEN) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await watcher.changed()
    except TimeoutError:
        return False
    return True


async def test_written_in_place_and_renamed_over(watching: Watching, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a")
    watcher = await watching(path)
    path.write_text("bb")
    assert await sees(watcher)
    (tmp_path / ".config.yaml.swp").write_text("b")
    (tmp_path / ".config.yaml.swp").replace(path)
    assert await sees(watcher)
    path.unlink()
    assert await sees(watcher)
    path.write_text("c")
    assert await sees(watcher)


async def test_who_may_write_it(watching: Watching, tmp_path: Path) -> None:
    """A file that was refused because of that counts again once it is mended."""
    path, directory = tmp_path / "config.yaml", tmp_path / "config.d"
    path.write_text("a")
    directory.mkdir()
    watcher = await watching(path)
    path.chmod(0o666)
    assert await sees(watcher)
    path.chmod(0o644)
    assert await sees(watcher)


async def test_whose_directory_it_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUIET", 0.05)
    directory = tmp_path / "packs"
    (directory / "one").mkdir(parents=True)
    (directory / "one/link").symlink_to("/nowhere/a")
    watcher = Watcher(lambda: [directory, directory / "one", directory / "one/link"])
    await watcher.start()
    try:
        for each in (directory, directory / "one"):
            each.chmod(0o777)
            assert await sees(watcher)
        (directory / "one/link").unlink()
        (directory / "one/link").symlink_to("/nowhere/b")
        assert await sees(watcher)
    finally:
        await watcher.close()


async def test_a_drop_in_directory_that_comes_and_goes(watching: Watching, tmp_path: Path) -> None:
    path, directory = tmp_path / "config.yaml", tmp_path / "config.d"
    path.write_text("a")
    watcher = await watching(path)
    directory.mkdir()
    (directory / "a.yaml").write_text("a")
    assert await sees(watcher)
    (directory / "a.yaml").write_text("bb")
    assert await sees(watcher)
    (directory / "a.yaml").unlink()
    directory.rmdir()
    assert await sees(watcher)
    directory.mkdir()
    (directory / "b.yaml").write_text("a")
    assert await sees(watcher)


async def test_a_directory_of_kubernetes_whose_link_is_swapped(watching: Watching, tmp_path: Path) -> None:
    mounted, etc = tmp_path / "mounted", tmp_path / "etc"
    etc.mkdir()
    for version in ("..1", "..2"):
        (mounted / version).mkdir(parents=True)
        (mounted / version / "config.yaml").write_text("same size")
    (mounted / "..data").symlink_to("..1")
    (mounted / "config.yaml").symlink_to("..data/config.yaml")
    (etc / "config.yaml").symlink_to(mounted / "config.yaml")
    for path in (mounted / "config.yaml", etc / "config.yaml"):
        watcher = await watching(path)
        now = (mounted / "..data").readlink()
        (mounted / "..data_tmp").symlink_to("..2" if str(now) == "..1" else "..1")
        (mounted / "..data_tmp").replace(mounted / "..data")
        assert await sees(watcher)


async def test_what_happens_beside_the_files_is_no_change(watching: Watching, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a")
    watcher = await watching(path)
    for name in ("other.yaml", "config.yaml~"):
        (tmp_path / name).write_text("b")
    path.read_text()
    assert not await sees(watcher, 0.3)


async def test_no_thread_is_left(watching: Watching, tmp_path: Path) -> None:
    before = {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    watcher = await watching(tmp_path / "config.yaml")
    await watcher.close()
    after = {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    assert after <= before


async def test_what_comes_between_a_look_for_files_and_the_watch_over_them(tmp_path: Path) -> None:
    looks: list[list[Path]] = []

    def files() -> list[Path]:
        looks.append([tmp_path, *tmp_path.glob("*.yaml")])
        if len(looks) == 1:
            (tmp_path / "late.yaml").write_text("a")
        return looks[-1]

    watcher = Watcher(files)
    try:
        await watcher.start()
        assert looks[-1] == [tmp_path, tmp_path / "late.yaml"]
    finally:
        await watcher.close()
