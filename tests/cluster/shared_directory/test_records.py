import asyncio
import errno
import os
import stat
import time
from pathlib import Path
from typing import NoReturn

import pytest

from cluster import version_1
from cluster.bindings_suite import TODAY, TOMORROW, BindingsSuite, undecided_record
from cluster.crash import kill_in_a_loop
from cluster.frozen_suite import FrozenSuite, decided
from cluster.suite import (
    KEY,
    LIFETIME,
    LIFETIMES,
    UNKNOWN,
    Clock,
    RecordsSuite,
    decided_record,
    image_record,
    layer_record,
)
from wavelet.cluster.recent_records import FRESH
from wavelet.cluster.records import Lifetimes
from wavelet.cluster.shared_directory import directory_io, record_files
from wavelet.cluster.shared_directory import records as directory
from wavelet.cluster.shared_directory.backend import DirectoryBackend
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.config import ConfigError
from wavelet.errors import NoSpace, OurError, WaitExpired
from wavelet.kinds.table import FORMS


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_AGAIN", (0.01, 0.02))


class TestDirectoryRecords(RecordsSuite):
    @staticmethod
    def make(path: Path, key: bytes, lifetimes: Lifetimes, clock: Clock) -> DirectoryRecords:
        return DirectoryRecords(path / "shared", key, FORMS, lifetimes, clock)


class TestFrozenInDirectory(FrozenSuite):
    make = staticmethod(TestDirectoryRecords.make)


class TestDirectoryBindings(BindingsSuite):
    make = staticmethod(TestDirectoryRecords.make)

    def bindings(self, path: Path) -> list[str]:
        return [each.name.removesuffix(".pin") for each in path.rglob("*.pin")]

    def change(self, path: Path, token: str, content: bytes) -> None:
        (path / "shared" / token[:2] / f"{token}.pin").write_bytes(content)


def files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file())


async def test_a_damaged_record_is_refused_and_mended(tmp_path: Path) -> None:
    record, digest = layer_record(b"bytes")
    for damage in (b"", b"1\nanonymous", b"\xff\xfe", b"x\nanonymous\n{", b"1\nanonymous\n" + b"[" * 5000):
        records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
        token = await records.put(record, {digest: b"bytes"})
        for path in files(tmp_path):
            path.write_bytes(damage)
        other = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
        assert await other.get(token) is None
        assert await other.inline(token, digest) is None
        assert await other.put(record, {digest: b"bytes"}) == token
        assert await other.get(token) is not None
        assert await other.inline(token, digest) == b"bytes"
        await other.close()
        await records.close()


async def test_a_forged_record_is_refused(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(image_record(), {})
    (tmp_path / token[:2] / token).write_bytes(b"1\n" + image_record("evil:1").encode())
    assert await records.get(token) is None
    await records.close()


async def test_another_nodes_record_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_AGAIN", (0.1, 0.2, 0.4))
    here, there = (DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES) for _ in range(2))
    looking = asyncio.create_task(here.get(image_record().token(KEY)))
    await asyncio.sleep(0.15)
    assert not looking.done()
    await there.put(image_record(), {})
    assert await looking is not None
    started = time.monotonic()
    assert await here.get(UNKNOWN) is None
    assert 0.6 < time.monotonic() - started < 10
    await here.close()
    await there.close()


async def test_anothers_eviction_is_seen_and_so_is_its_renewal(tmp_path: Path) -> None:
    clock = Clock()
    here, there = (DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock) for _ in range(2))
    token = await here.put(image_record(), {})
    assert await there.get(token) is not None
    clock.now += LIFETIME - 10
    assert await there.get(token) is not None
    await here.touch(token)
    clock.now += 20
    assert await there.get(token) is not None
    await here.evict(token)
    clock.now += FRESH
    assert await there.get(token) is None
    await here.close()
    await there.close()


async def test_a_hot_get_reads_nothing(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(decided_record(), {})
    stored = await records.get(token)
    for path in files(tmp_path):
        path.unlink()
    assert await records.get(token) == stored
    await records.close()


async def test_put_again_changes_no_file(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    record, digest = layer_record(b"bytes")
    await records.put(record, {digest: b"bytes"})
    before = {path: path.stat().st_ino for path in files(tmp_path)}
    await records.put(record, {digest: b"bytes"})
    assert {path: path.stat().st_ino for path in files(tmp_path)} == before
    assert len(before) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}
    await records.close()


@pytest.mark.process
async def test_kill_9_of_two_writers_loses_nothing(tmp_path: Path) -> None:
    assert await kill_in_a_loop(DirectoryRecords, tmp_path, writers=2) > 8
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, lambda: time.time() + 2 * record_files.LEFTOVER_AGE)
    await records.expire()
    assert [path for path in files(tmp_path) if path.name.endswith(".tmp")] == []
    layers = [path for path in files(tmp_path) if "." in path.name]
    assert all(path.with_name(path.name.partition(".")[0]).exists() for path in layers)
    await records.close()


async def test_leftovers_go_and_strangers_stay(tmp_path: Path) -> None:
    clock = Clock()
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    token = await records.put(image_record(), {})
    shard = tmp_path / token[:2]
    left = [shard / ".abc.tmp", shard / f"{token[:2]}{'0' * 30}.sha256-00"]
    stay = [shard / "README", shard / "x.sha256-00", tmp_path / "cluster.key"]
    for path in left + stay:
        path.write_bytes(b"")
        os.utime(path, (clock.now, clock.now))
    assert await records.expire() == 0
    assert all(path.exists() for path in left)
    clock.now += record_files.LEFTOVER_AGE
    assert await records.expire() == 0
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in stay)
    await records.close()


async def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    token = await records.put(image_record(), {})
    assert await records.get(token) is not None
    assert len(files(tmp_path)) == 1
    await records.close()


async def test_a_full_disk_and_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    failure = errno.ENOSPC

    def fsync(_: int) -> NoReturn:
        raise OSError(failure, os.strerror(failure))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NoSpace, match="No space left"):
        await records.put(image_record(), {})
    failure = errno.EIO
    with pytest.raises(OurError, match="Input/output error"):
        await records.put(image_record(), {})
    monkeypatch.undo()
    assert files(tmp_path) == []
    await records.put(image_record(), {})
    await records.close()


async def test_a_directory_that_hangs_is_an_error_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    monkeypatch.setattr(directory_io, "IO_WAIT", 0.1)
    monkeypatch.setattr(record_files, "_read_once", lambda _: time.sleep(0.5))
    with pytest.raises(WaitExpired, match="has not answered"):
        await records.get(UNKNOWN)
    await records.close()


async def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"records\.directory.*file/sub cannot be used"):
        DirectoryBackend(tmp_path / "file" / "sub", KEY, FORMS, LIFETIMES, share_logins=False)


async def test_an_impatient_look_for_an_unknown_token_takes_no_time(tmp_path: Path) -> None:
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES)
    async with asyncio.timeout(sum(directory.LOOK_AGAIN) / 2):
        assert await records.get("0" * 32, patient=False) is None
    await records.close()


async def test_a_bound_name_that_another_node_has_evicted_and_this_one_keeps_again(tmp_path: Path) -> None:
    """This node may remember for a while what it was bound to: it is bound to nothing else."""
    one, two = (DirectoryRecords(tmp_path / "shared", KEY, FORMS, LIFETIMES) for _ in range(2))
    token = await one.put(undecided_record(), {})
    await one.bind(token, TODAY)
    assert (await two.get(token)) is not None
    assert await one.evict(token) is True
    assert await two.put(undecided_record(), {}) == token
    assert await one.bind(token, TOMORROW) == TODAY
    await one.close()
    await two.close()


async def test_versions_that_know_no_frozen_images_leave_their_records_alone(tmp_path: Path) -> None:
    clock = Clock()
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    token = await records.put(decided("a:1"), {})
    usual = await records.put(image_record("a:1"), {})
    clock.now += LIFETIME + 1
    assert version_1.expire(tmp_path, clock.now, LIFETIME) == 1
    assert await records.get(usual, patient=False) is None
    assert await records.get(token) is not None
    await records.close()


async def test_nothing_is_read_to_tell_which_records_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    records = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, clock)
    await records.put(decided("a:1"), {})
    await records.put(image_record("a:1"), {})
    clock.now += LIFETIME + 1
    monkeypatch.setattr(record_files.RecordFiles, "read", None)
    assert await records.expire() == 1
    await records.close()
