"""Files in the shared directory: written whole or not at all, found by all; and what is said of one of no use."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.sif_directory.places import Maker, contents, file_of, left, name, opened, settings
from wavelet.cluster.sif_directory.directory import Contents, SifDirectory
from wavelet.config import ConfigError, Settings
from wavelet.errors import DirectoryUnavailable, ImageNotFound, OurError
from wavelet.plan.tokens import ANONYMOUS, Principal
from wavelet.upstream.file_ranges import Piece


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "site" / "sif"


async def test_a_file_is_its_pieces_one_after_the_other(root: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(os.urandom(40_000_000))
    other.write_bytes(os.urandom(100_000))
    file = await file_of(opened(root))
    assert not await file.is_there()
    pieces = contents(b"head", (one, 5, 35_000_000), (other, 0, 100_000), b"tail")

    async def make() -> Contents:
        return pieces

    assert await file.ensure(make)
    assert file.path == root / f"library-ubuntu-24.04--{1:032x}.sif"
    assert file.path.read_bytes() == b"head" + one.read_bytes()[5:35_000_005] + other.read_bytes() + b"tail"
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o644
    assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert stat.S_IMODE((root / ".wavelet").stat().st_mode) == 0o700
    assert left(root) == []
    assert await file.is_there()


@pytest.mark.parametrize("without", [("copy_file_range",), ("copy_file_range", "sendfile")])
async def test_what_the_kernel_cannot_copy_is_read_and_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    for each in without:
        monkeypatch.setattr(os, each, refuse)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(20_000_000))
    file = await file_of(opened(root))

    async def make() -> Contents:
        return contents(b"-", (source, 1, 19_999_999))

    await file.ensure(make)
    assert file.path.read_bytes() == b"-" + source.read_bytes()[1:]


async def test_what_one_node_has_made_the_others_find(root: Path) -> None:
    one, other = Maker(), Maker()
    assert await (await file_of(opened(root))).ensure(one)
    assert not await (await file_of(opened(root))).ensure(other)
    assert (one.calls, other.calls) == (1, 0)


async def test_a_use_is_seen_by_all(root: Path) -> None:
    file = await file_of(opened(root))
    assert not await file.use()
    await file.ensure(Maker())
    os.utime(file.path, (0, 0))
    assert await file.is_there()
    assert file.path.stat().st_mtime == 0
    assert await file.use()
    assert file.path.stat().st_mtime > 1e9
    os.utime(file.path, (0, 0))
    await file.ensure(Maker())
    assert file.path.stat().st_mtime > 1e9


@pytest.mark.parametrize("size", [2, 4, 2_000_000])
async def test_nothing_is_left_of_what_has_another_size(root: Path, size: int) -> None:
    file = await file_of(opened(root))

    async def make() -> Contents:
        return contents(b"sif", size=size)

    with pytest.raises(OurError, match=f"should have {size} bytes, and 3 came"):
        await file.ensure(make)
    assert left(root) == []
    assert not file.path.exists()


async def test_a_source_that_ends_early_is_said(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"short")

    async def make() -> Contents:
        return contents((source, 0, 10))

    with pytest.raises(OurError, match="has ended 5 bytes too early"):
        await (await file_of(opened(root))).ensure(make)
    assert left(root) == []


async def test_what_cannot_be_made_leaves_nothing_and_is_tried_again(root: Path) -> None:
    file = await file_of(opened(root))

    async def fail() -> Contents:
        raise ImageNotFound("there is none")

    with pytest.raises(ImageNotFound):
        await file.ensure(fail)
    assert left(root) == []
    assert await file.ensure(Maker())


async def test_who_is_cancelled_leaves_nothing(root: Path) -> None:
    file = await file_of(opened(root))
    begun = asyncio.Event()

    async def slow() -> AsyncIterator[Piece]:
        yield b"sif"
        begun.set()
        await asyncio.sleep(60)

    @asynccontextmanager
    async def give() -> AsyncIterator[AsyncIterator[Piece]]:
        yield slow()

    async def make() -> Contents:
        return Contents(6, give)

    task = asyncio.create_task(file.ensure(make))
    await begun.wait()
    assert len(left(root)) == 2
    task.cancel()
    await asyncio.wait([task])
    assert left(root) == []
    assert await file.ensure(Maker())


async def test_without_a_directory_there_is_no_place() -> None:
    directory = SifDirectory(Settings())
    assert await directory.file(name(), ANONYMOUS) is None
    await directory.check()
    directory.close()


async def test_who_is_known_by_a_login_alone_has_no_place(root: Path) -> None:
    assert await opened(root).file(name(), Principal(login_key="abc")) is None


async def test_a_reload_may_name_another_directory(root: Path, tmp_path: Path) -> None:
    directory = opened(root)
    former = await file_of(directory)
    apply = directory.configure(settings(tmp_path / "other"))
    assert (await file_of(directory)).path == former.path
    apply()
    assert (await file_of(directory)).path.parent == tmp_path / "other"
    assert await former.ensure(Maker())
    directory.configure(Settings())()
    assert await directory.file(name(), ANONYMOUS) is None
    directory.close()


async def test_a_directory_that_vanishes_is_said_and_not_made_anew(root: Path) -> None:
    directory = opened(root)
    file = await file_of(directory)
    await directory.check()
    root.rename(root.with_name("away"))
    for ask in (directory.check(), file.is_there(), file.ensure(Maker())):
        with pytest.raises(DirectoryUnavailable, match=rf"\(sif\.directory\) {root} cannot be used: No such file"):
            await ask
    assert not root.exists()
    root.with_name("away").rename(root)
    await directory.check()
    assert await file.ensure(Maker())


async def test_what_daemons_need_is_made_anew(root: Path) -> None:
    directory = opened(root)
    (root / ".wavelet").rmdir()
    await directory.check()
    assert await (await file_of(directory)).ensure(Maker())


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (0o777, "everybody may write to"),
        (0o700, "nobody but its owner may read" if os.geteuid() == 0 else ""),
        (0o1777, ""),
        (0o755, ""),
    ],
)
def test_modes_of_the_directory(root: Path, mode: int, says: str) -> None:
    root.mkdir(parents=True)
    root.chmod(mode)
    if not says:
        opened(root).close()
        return
    with pytest.raises(ConfigError, match=rf"^sif\.directory: {says}") as refused:
        opened(root)
    assert refused.value.field == "sif.directory"


def test_a_file_in_the_place_of_the_directory_is_said(root: Path) -> None:
    root.parent.mkdir()
    root.touch()
    with pytest.raises(ConfigError, match=rf"^sif\.directory: {root} cannot be used: Not a directory"):
        opened(root)
