"""Bindings in places that are full, read-only, away or hang: an error that says so, nothing half done, no pin."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cluster import no_links
from cluster.keepers import Keeper, OpenedSqliteRecords
from cluster.suite import KEY, LIFETIME, LIFETIMES, Clock, decided_record, pin_of, undecided_record
from lab.disks import mounted
from wavelet.cluster.records import seal_binding
from wavelet.cluster.shared_directory import bindings, directory_io, record_files
from wavelet.cluster.shared_directory import records as directory
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.errors import DamagedBinding, DirectoryUnavailable, WaitExpired
from wavelet.kinds.table import FORMS

RECORD = undecided_record()
PIN, OTHER = pin_of(RECORD), pin_of(RECORD, "tomorrow")

both_keepers = pytest.mark.parametrize("keeper", [DirectoryRecords, OpenedSqliteRecords])
with_and_without_links = pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_AGAIN", ())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "1m") as place:
        yield place


def opened(keeper: Any, place: Path) -> Keeper:
    path = place / "records.sqlite" if keeper is OpenedSqliteRecords else place
    records: Keeper = keeper(path, KEY, FORMS, LIFETIMES)
    return records


def files(place: Path) -> list[Path]:
    return sorted(place.rglob("*"))


def fill(place: Path) -> Path:
    path = place / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


@pytest.mark.process
@both_keepers
async def test_a_full_place(small: Path, keeper: type[Keeper]) -> None:
    records = opened(keeper, small)
    token = await records.put(RECORD, {})
    ballast = fill(small)
    before = files(small)
    with pytest.raises(DirectoryUnavailable, match=r"No space left|is full") as seen:
        await records.bind(token, PIN)
    assert seen.value.status == 503
    assert files(small) == before
    ballast.unlink()
    stored = await records.get(token)
    assert stored is not None
    assert stored.pin is None
    assert await records.bind(token, OTHER) == OTHER
    await records.close()


@pytest.mark.process
@with_and_without_links
async def test_a_directory_that_is_read_only(small: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is bound is answered as before, what is not is not; the same once it can be written again."""
    if not links:
        monkeypatch.setattr(os, "link", no_links.link)
    records = DirectoryRecords(small, KEY, FORMS, LIFETIMES)
    bound, free = [await records.put(undecided_record(nonce=nonce), {}) for nonce in ("aa", "bb")]
    decided = await records.put(decided_record(), {})
    await records.bind(bound, PIN)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    again = DirectoryRecords(small, KEY, FORMS, LIFETIMES)
    assert await again.bind(bound, OTHER) == PIN
    assert await again.bind(decided, OTHER) == PIN
    stored = await again.get(bound)
    assert stored is not None
    assert stored.pin == PIN
    for keeper in (records, again):
        with pytest.raises(DirectoryUnavailable, match="Read-only file system"):
            await keeper.bind(free, PIN)
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    assert not list(small.glob("*/.*"))
    assert await records.bind(free, OTHER) == OTHER
    await again.close()
    await records.close()


@pytest.mark.parametrize("failure", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
@with_and_without_links
async def test_a_directory_that_refuses(
    tmp_path: Path, links: bool, failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(failure, os.strerror(failure))

    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(RECORD, {})
    before = files(tmp_path)
    if not links:
        monkeypatch.setattr(os, "link", no_links.link)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link" if links else "rename", fail)
        with pytest.raises(DirectoryUnavailable, match=os.strerror(failure)) as seen:
            await records.bind(token, PIN)
    assert seen.value.status == 503
    assert files(tmp_path) == before
    assert await records.bind(token, OTHER) == OTHER
    await records.close()


async def test_a_directory_that_is_away(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path / "shared", KEY, FORMS, LIFETIMES)
    token = await records.put(RECORD, {})
    await records.bind(token, PIN)
    (tmp_path / "shared").rename(tmp_path / "away")
    for work in (records.bind(token, OTHER), records.get(token)):
        with pytest.raises(DirectoryUnavailable):
            await work
    assert not (tmp_path / "shared").exists()
    (tmp_path / "away").rename(tmp_path / "shared")
    assert await records.bind(token, OTHER) == PIN
    await records.close()


async def test_a_directory_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in time; what was begun goes on, and what it does stands."""
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(RECORD, {})
    publish = bindings.first.publish_first

    def slowly(path: Path, content: bytes, modified: float) -> None:
        time.sleep(0.4)
        publish(path, content, modified)

    monkeypatch.setattr(bindings.first, "publish_first", slowly)
    with monkeypatch.context() as patch:
        patch.setattr(directory_io, "IO_WAIT", 0.1)
        with pytest.raises(WaitExpired, match="has not answered") as seen:
            await records.bind(token, PIN)
    assert seen.value.status == 503
    assert await records.bind(token, OTHER) in (PIN, OTHER)
    stored = await records.get(token)
    assert stored is not None
    assert await records.bind(token, OTHER) == stored.pin
    await records.close()


async def test_a_caller_that_goes_away_leaves_one_pin(tmp_path: Path) -> None:
    for keeper in (DirectoryRecords, OpenedSqliteRecords):
        records = opened(keeper, tmp_path)
        token = await records.put(RECORD, {})
        task = asyncio.create_task(records.bind(token, PIN))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bound = await records.bind(token, OTHER)
        assert await records.bind(token, PIN) == bound
        await records.close()


async def test_a_database_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = opened(OpenedSqliteRecords, tmp_path)
    token = await records.put(RECORD, {})
    lock = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
    lock.execute("CREATE TRIGGER refused BEFORE INSERT ON bindings BEGIN SELECT raise(ABORT, 'not now'); END")
    with pytest.raises(DirectoryUnavailable, match="cannot be written: not now") as seen:
        await records.bind(token, PIN)
    assert seen.value.status == 503
    lock.execute("DROP TRIGGER refused")
    lock.close()
    assert await records.bind(token, OTHER) == OTHER
    await records.close()


# -- what becomes of them ---------------------------------------------------------------------------------------------


@with_and_without_links
async def test_bindings_go_with_their_records_and_what_crashes_leave_goes(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links.link)
    clock = Clock()
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    evicted, expired, left = [await records.put(undecided_record(nonce=nonce), {}) for nonce in ("aa", "bb", "cc")]
    for token in (evicted, expired, left):
        await records.bind(token, PIN)
    (tmp_path / left[:2] / left).unlink()  # killed while it evicted
    crashed = tmp_path / left[:2] / ".abc.tmp"
    crashed.mkdir()
    (crashed / "content").write_bytes(b"half a binding")
    for path in (crashed / "content", crashed):
        os.utime(path, (clock.now, clock.now))
    assert await records.evict(evicted) is True
    assert await records.expire() == 0
    assert sorted(path.name for path in tmp_path.glob("*/*.pin")) == sorted([f"{expired}.pin", f"{left}.pin"])
    clock.now += record_files.LEFTOVER_AGE
    assert await records.expire() == 0
    assert [path.name for path in tmp_path.glob("*/*.pin")] == [f"{expired}.pin"]
    assert not crashed.exists()
    clock.now += LIFETIME
    assert await records.expire() == 1
    assert [path for path in tmp_path.glob("*/*") if path.name != "ballast"] == []
    await records.close()


@with_and_without_links
async def test_a_binding_whose_record_is_made_again_is_nobodys_leftover(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links.link)
    clock = Clock()
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    token = await records.put(RECORD, {})
    await records.bind(token, PIN)
    (tmp_path / token[:2] / token).unlink()
    clock.now += 2 * record_files.LEFTOVER_AGE
    again = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    assert await again.put(RECORD, {}) == token
    # A node that does not see the new record yet looks only for what is old.
    (tmp_path / token[:2] / token).rename(tmp_path / "unseen")
    await records.expire()
    (tmp_path / "unseen").rename(tmp_path / token[:2] / token)
    assert await again.bind(token, OTHER) == PIN
    await records.close()
    await again.close()


async def test_a_binding_that_another_node_caches_the_absence_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NFS client may not see the file that keeps it from making one, until it looks at the directory afresh."""
    one, two = (DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES) for _ in range(2))
    token = await one.put(RECORD, {})
    await one.bind(token, PIN)
    seen, afresh = bindings.first.read, []

    def read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
        if not afresh:
            raise FileNotFoundError(path)
        return seen(path, limit)

    monkeypatch.setattr(bindings.first, "read", read)
    monkeypatch.setattr(bindings, "sync_directory", afresh.append)
    assert await two.bind(token, OTHER) == PIN
    afresh.clear()
    monkeypatch.setattr(bindings, "sync_directory", lambda _: None)
    with pytest.raises(DirectoryUnavailable, match="ask again"):
        await two.bind(token, OTHER)
    await one.close()
    await two.close()


async def test_a_name_without_a_binding_costs_one_look_and_one_with_its_pin_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    decided, free = await records.put(decided_record(), {}), await records.put(RECORD, {})
    looked: list[Path] = []
    read = bindings.first.read

    def noted(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
        looked.append(path)
        return read(path, limit)

    monkeypatch.setattr(bindings.first, "read", noted)
    await records.get(decided)
    assert looked == []
    await records.get(free)
    assert [path.name for path in looked] == [f"{free}.pin"]
    await records.bind(free, PIN)
    looked.clear()
    for _ in range(2):
        stored = await records.get(free)
        assert stored is not None
        assert stored.pin == PIN
    assert len(looked) == 1
    await records.close()


async def test_a_damaged_binding_disturbs_no_other_use_of_its_record(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(RECORD, {})
    binding = tmp_path / token[:2] / f"{token}.pin"
    binding.write_bytes(seal_binding(token, PIN, RECORD.plan, bytes(32), FORMS))
    with pytest.raises(DamagedBinding, match="damaged") as seen:
        await records.get(token)
    assert not seen.value.passing
    assert isinstance(seen.value.with_message("in other words"), DamagedBinding)
    assert await records.put(RECORD, {}) == token
    await records.touch(token)
    assert await records.expire() == 0
    assert binding.exists()
    await records.close()
