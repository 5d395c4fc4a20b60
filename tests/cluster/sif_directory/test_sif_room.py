"""The room of the directory: what gives way to a new file, and what never does."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.sif_directory.places import Maker, contents, file_of, left, name, opened
from lab.disks import mounted
from wavelet.cluster.sif_directory import room
from wavelet.cluster.sif_directory.directory import Contents, SifDirectory
from wavelet.cluster.sif_directory.room import Found, Rules, chosen
from wavelet.cluster.sif_directory.tree import prepare
from wavelet.errors import NeverFits, NoSpace
from wavelet.upstream.file_ranges import Piece

DAY = 86400.0


def path_of(root: Path, number: int) -> Path:
    return root / name(number).file


async def filled(directory: SifDirectory, root: Path, ages: dict[int, float]) -> None:
    """Have files there of 100 bytes, each used some seconds ago."""
    for number, age in ages.items():
        await (await file_of(directory, number)).ensure(Maker(b"x" * 100))
        os.utime(path_of(root, number), (time.time() - age,) * 2)


def there(root: Path) -> set[int]:
    return {number for number in range(10) if path_of(root, number).exists()}


async def test_the_least_recently_used_go_and_no_more_than_needed(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root, limit="450", lease=DAY)
    await filled(directory, root, {1: 3 * DAY, 2: 5 * DAY, 3: 4 * DAY, 4: 0})
    await (await file_of(directory, 5)).ensure(Maker(b"x" * 100))
    assert there(root) == {1, 3, 4, 5}
    await (await file_of(directory, 1)).use()
    await (await file_of(directory, 6)).ensure(Maker(b"x" * 150))
    assert there(root) == {1, 4, 5, 6}
    assert left(root) == []


async def test_what_was_used_within_the_lease_stays_and_the_new_one_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root, limit="250", lease=DAY)
    await filled(directory, root, {1: 0.5 * DAY, 2: 2 * DAY})
    with pytest.raises(NoSpace, match=rf"in {root} \(sif\.directory\): 50 B short.*raise sif\.limit, or lower sif\.le"):
        await (await file_of(directory, 3)).ensure(Maker(b"x" * 200))
    assert there(root) == {1, 2}
    assert left(root) == []


async def test_what_never_fits_is_said(tmp_path: Path) -> None:
    with pytest.raises(NeverFits, match=r"raise sif\.limit"):
        await (await file_of(opened(tmp_path / "sif", limit="10"))).ensure(Maker(b"x" * 11))


async def test_a_lower_limit_and_a_shorter_lease_count_at_once(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root, limit="1kB", lease=DAY)
    await filled(directory, root, {1: 3, 2: 2, 3: 1})
    room.keep_within(prepare(root), Rules(150, DAY))
    assert there(root) == {1, 2, 3}
    room.keep_within(prepare(root), Rules(150, 0.5))
    assert there(root) == {3}


async def test_what_is_being_written_counts(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root, limit="250", lease=DAY)
    await filled(directory, root, {1: 2 * DAY})
    with (root / ".wavelet" / "another.tmp").open("wb") as file:
        file.truncate(100)
    await (await file_of(directory, 2)).ensure(Maker(b"x" * 100))
    assert there(root) == {2}


async def test_others_files_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root, limit="100", lease=1)
    mine = [root / "notes.txt", root / "mine.sif", root / "dir" / "x.sif"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (0, 0))
    await (await file_of(directory)).ensure(Maker(b"x" * 100))
    assert all(path.exists() for path in mine)


async def test_a_use_between_the_look_and_the_removal_brings_a_file_back(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root)
    await filled(directory, root, {1: 2 * DAY})
    seen = room.look_through(prepare(root)).files
    await (await file_of(directory)).use()
    room.evict(prepare(root), seen)
    assert there(root) == {1}
    assert left(root) == []


async def test_a_time_ahead_does_not_keep_a_file_for_ever(tmp_path: Path) -> None:
    root = tmp_path / "sif"
    directory = opened(root)
    await filled(directory, root, {1: -400 * DAY})
    room.keep_within(prepare(root), Rules(1000, DAY))
    assert abs(path_of(root, 1).stat().st_mtime - time.time()) < 100


@pytest.mark.process
async def test_a_full_disk_makes_the_old_go_and_else_is_said(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "10m") as root:
        root.chmod(0o755)
        directory = opened(root, lease=DAY)
        await (await file_of(directory, 1)).ensure(Maker(b"x" * 6_000_000))
        with pytest.raises(NoSpace, match=r"free its disk, or lower sif\.lease"):
            await (await file_of(directory, 2)).ensure(Maker(b"x" * 6_000_000))
        assert there(root) == {1}
        assert left(root) == []
        os.utime(path_of(root, 1), (time.time() - 2 * DAY,) * 2)
        await (await file_of(directory, 2)).ensure(Maker(b"x" * 6_000_000))
        assert there(root) == {2}


@pytest.mark.process
async def test_a_disk_that_fills_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "10m") as root:
        root.chmod(0o755)
        directory = opened(root)
        file = await file_of(directory)

        @asynccontextmanager
        async def give() -> AsyncIterator[AsyncIterator[Piece]]:
            (root / "others").write_bytes(b"x" * 6_000_000)  # there was room when it was looked
            async with contents(b"x" * 6_000_000).open() as pieces:
                yield pieces

        async def make() -> Contents:
            return Contents(6_000_000, give)

        with pytest.raises(NoSpace, match=rf"\(sif\.directory\) {root} cannot be used: No space left"):
            await file.ensure(make)
        assert there(root) == set()
        assert left(root) == []


def test_nothing_goes_that_is_younger_than_what_stays() -> None:
    files = [Found(None, str(number), 10, number * 10**9) for number in (5, 3, 9, 1)]
    assert [each.file for each in chosen(files, 15, 2, 10)[0]] == ["1", "3"]
    assert chosen(files, 100, 2, 10) == ([files[3], files[1], files[0]], 70)
    assert chosen(files, 0, 2, 10) == ([], 0)
