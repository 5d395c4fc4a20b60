"""Room in the store: least recently used first, nothing leased or pinned, and what a start finds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from opened import ORIGIN, Opened, Source

from wavelet.errors import NoSpace
from wavelet.image.reference import Digest
from wavelet.store import files, room
from wavelet.store.content import Committed
from wavelet.store.ingest import RESERVE_STEP
from wavelet.store.room import DISK_MARGIN

A, B, C = b"a" * 100, b"b" * 100, b"c" * 100
HOUR = 3600.0


async def filled(open_store: Callable[..., Opened], limit: int = 300) -> tuple[Opened, list[Digest]]:
    store = open_store(limit)
    return store, [await store.keep(data) for data in (A, B, C)]


async def test_the_least_recently_used_makes_room(open_store: Callable[..., Opened]) -> None:
    store, (a, b, c) = await filled(open_store)
    assert store.has(a)  # a use
    d = await store.keep(b"d" * 150)
    assert [store.has(each) for each in (a, b, c, d)] == [True, False, False, True]
    assert store.account() == (250, 0)
    assert store.blobs() == {a.hex, d.hex}
    assert store.partials() == []


async def test_the_log_tells_afterwards_which_went(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that says how many has no digests; one at debug has some."""
    monkeypatch.setattr(room, "DIGESTS_SAID", 2)
    store, gone = await filled(open_store)
    with structlog.testing.capture_logs() as said:
        await store.keep(b"d" * 300)
    [line] = [each for each in said if each["event"] == "evicted blobs"]
    assert (line["log_level"], line["digests"], line["more"]) == ("debug", gone[:2], 1)


async def test_what_is_leased_or_pinned_stays(open_store: Callable[..., Opened]) -> None:
    store, (a, b, c) = await filled(open_store)
    store.lease([a], time.time() + HOUR)
    await store.retention.pins.add(("", b), {b: 100})
    await store.keep(b"d" * 100)
    assert [store.has(each) for each in (a, b, c)] == [True, True, False]
    store.lease([Digest.of(b"d" * 100)], time.time() + HOUR)
    with pytest.raises(NoSpace, match=r"100 B short.*leased or pinned"):
        await store.keep(b"e" * 100)
    assert store.account() == (300, 0)
    await store.retention.pins.remove([("", b)])
    await store.keep(b"e" * 100)
    assert not store.has(b)


async def test_where_room_cannot_be_made_nothing_is_evicted(open_store: Callable[..., Opened]) -> None:
    store, (a, b, c) = await filled(open_store)
    await store.retention.pins.add(("", c), {c: 100})
    source = Source.of(b"x" * 250, size=250)
    with pytest.raises(NoSpace):
        await (await store.fetch(source, b"x" * 250, 250)).wait_committed()
    assert source.opened == 0
    assert all(map(store.has, (a, b, c)))
    assert store.account() == (300, 0)


async def test_a_lease_that_has_ended_keeps_nothing(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (a, _, _) = await filled(open_store)
    now = time.time()
    store.lease([a], now + 10)
    monkeypatch.setattr(time, "time", lambda: now + 11)
    await store.keep(b"d" * 100)
    assert not store.has(a)


async def test_a_lease_may_come_before_its_blob(open_store: Callable[..., Opened]) -> None:
    store = open_store(300)
    a = Digest.of(A)
    store.lease([a], time.time() + HOUR)
    for data in (A, B, C, b"d" * 100):
        await store.keep(data)
    assert store.has(a)


async def test_leases_pins_and_use_survive_a_restart(open_store: Callable[..., Opened]) -> None:
    first, (a, b, c) = await filled(open_store)
    first.lease([a], time.time() + HOUR)
    await first.retention.pins.add(("", b), {b: 100})
    await first.shut()
    again = open_store(300)
    assert again.account() == (300, 0)
    await again.keep(b"d" * 100)
    assert [again.has(each) for each in (a, b, c)] == [True, True, False]


async def test_reserved_bytes_count_before_they_come(open_store: Callable[..., Opened]) -> None:
    store = open_store(300)
    source = Source(200)
    partial = await store.fetch(source, b"x" * 200, 200)
    async with asyncio.timeout(5):
        while store.account() != (0, 200):
            await asyncio.sleep(0.01)
    with pytest.raises(NoSpace):
        await store.keep(b"y" * 150)
    await store.keep(A)
    source.send(b"x" * 200)
    source.end()
    await partial.wait_committed()
    assert store.account() == (300, 0)


async def test_a_blob_never_counts_twice(open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    """While its row is written, it is in place and no longer reserved."""
    store = open_store(300)
    writing, go_on = asyncio.Event(), asyncio.Event()
    write = store.database.write

    async def slow(statements: object) -> int:
        writing.set()
        await go_on.wait()
        return await write(statements)  # type: ignore[arg-type]

    monkeypatch.setattr(store.database, "write", slow)
    first = asyncio.create_task(store.keep(b"x" * 200))
    await writing.wait()
    assert store.account() == (200, 0)
    await store.room.reserve(100, "another")
    store.room.release(100)
    go_on.set()
    await first
    assert store.account() == (200, 0)


async def test_a_size_that_only_the_source_knows_is_reserved_as_it_is(open_store: Callable[..., Opened]) -> None:
    store = open_store(300)
    source = Source.of(A, size=100)
    await (await store.fetch(source, A, None)).wait_committed()
    with pytest.raises(NoSpace):
        await (await store.fetch(Source.of(b"x", size=301), b"x", None)).wait_committed()


async def test_unknown_sizes_are_reserved_in_steps(open_store: Callable[..., Opened]) -> None:
    store = open_store(2 * RESERVE_STEP)
    source = Source()
    partial = await store.fetch(source, A, None)
    source.send(A[:50])
    await asyncio.sleep(0.05)
    assert store.account() == (0, RESERVE_STEP)
    source.send(A[50:])
    source.end()
    await partial.wait_committed()
    assert store.account() == (100, 0)


async def test_readers_of_an_evicted_blob_keep_their_file(open_store: Callable[..., Opened]) -> None:
    store, (a, _, _) = await filled(open_store)
    found = store.find(a, ORIGIN)
    assert isinstance(found, Committed)
    with found.path.open("rb") as file:
        assert file.read(10) == A[:10]
        await store.room.evict([a, Digest.of(b"not here")])
        assert not store.has(a)
        assert file.read() == A[10:]
    assert store.account() == (200, 0)


async def test_evicted_content_can_come_again_at_once(open_store: Callable[..., Opened]) -> None:
    store, (a, _, _) = await filled(open_store)
    for _ in range(20):
        evicting = asyncio.create_task(store.room.evict([a]))
        await asyncio.sleep(0)
        await store.keep(A)
        await evicting
        assert store.has(a)
        found = store.find(a, ORIGIN)
        assert isinstance(found, Committed)
        assert found.path.read_bytes() == A
    assert store.account() == (300, 0)


async def test_many_at_once_stay_within_the_limit(open_store: Callable[..., Opened]) -> None:
    store = open_store(1000)
    contents = [bytes([n]) * 90 for n in range(40)]
    await asyncio.gather(*(store.keep(data) for data in contents), return_exceptions=True)
    committed, reserved = store.account()
    assert reserved == 0
    assert 0 < committed <= 1000
    on_disk = sum(path.stat().st_size for path in (store.directory / "blobs").glob("*/*/*"))
    assert on_disk == committed
    for data in contents:
        found = store.find(Digest.of(data), ORIGIN)
        assert found is None or (isinstance(found, Committed) and found.path.read_bytes() == data)


async def test_the_disks_own_end_makes_room_too(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (a, b, c) = await filled(open_store, 10**9)
    monkeypatch.setattr(files, "free_bytes", lambda path: DISK_MARGIN + 50)
    await store.keep(b"d" * 60)
    assert [store.has(each) for each in (a, b, c)] == [False, True, True]
    monkeypatch.setattr(files, "free_bytes", lambda path: 0)
    with pytest.raises(NoSpace):
        await store.keep(b"e" * 60)


# -- what a start finds -----------------------------------------------------------------------------------------------


async def test_a_start_drops_partial_files_and_files_without_a_row(
    open_store: Callable[..., Opened], tmp_path: Path
) -> None:
    first = open_store()
    kept = await first.keep(A)
    await first.shut()
    (tmp_path / "partial" / "0123").write_bytes(b"half")
    orphan = tmp_path / "blobs" / "sha256" / "ff" / ("f" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody knows me")
    again = open_store()
    assert again.partials() == []
    assert again.blobs() == {kept.hex}
    assert not again.has(Digest(f"sha256:{'f' * 64}"))
    assert again.account() == (100, 0)


async def test_a_start_forgets_rows_without_a_file(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    first = open_store()
    a, b = await first.keep(A), await first.keep(B)
    await first.shut()
    next((tmp_path / "blobs").glob(f"*/*/{a.hex}")).unlink()
    again = open_store()
    assert not again.has(a)
    assert again.has(b)
    assert again.account() == (100, 0)
    await again.shut()
    third = open_store()
    assert third.database.read("SELECT digest FROM origins") == [(str(b),)]
    assert third.database.read("SELECT digest FROM blobs") == [(str(b),)]


async def test_a_smaller_limit_after_a_restart_evicts_with_the_next_fetch(open_store: Callable[..., Opened]) -> None:
    first, _ = await filled(open_store)
    await first.shut()
    again = open_store(150)
    await again.keep(b"d" * 50)
    assert again.account() == (150, 0)


async def test_blobs_are_their_owners_alone(store: Opened) -> None:
    digest = await store.keep(A)
    found = store.find(digest, ORIGIN)
    assert isinstance(found, Committed)
    for path in (found.path, store.directory / "blobs", store.directory / "partial"):
        assert path.stat().st_mode & 0o077 == 0, path


# -- clocks that were wrong -------------------------------------------------------------------------------------------

DAYS_400 = 400 * 86400.0


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_lease_that_a_clock_began_which_was_ahead_keeps_nothing(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch, restarted: bool
) -> None:
    """Fault D3: a store that was filled 400 days ahead answered every pull 507, "leased or pinned"."""
    now = time.time()
    store = open_store(300)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + DAYS_400)
        digests = [await store.keep(data) for data in (A, B, C)]
        store.lease(digests, now + DAYS_400 + 1)
    if restarted:
        await store.shut()
        store = open_store(300)
    assert store.retention.leased_until(digests[0]) is None
    assert store.has(digests[0])
    await store.keep(b"d" * 150)
    assert [store.has(each) for each in digests] == [True, False, False]
    store.lease(digests[:1], now + HOUR)
    assert store.retention.leased_until(digests[0]) == now + HOUR


async def test_use_by_a_clock_that_was_ahead_is_use_of_now(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault D3, of the order in which blobs give way."""
    now = time.time()
    store = open_store(300)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + DAYS_400)
        a = await store.keep(A)
    b = await store.keep(B)
    await store.shut()
    store = open_store(200)
    monkeypatch.setattr(time, "time", lambda: now + HOUR)
    assert store.has(b)
    await store.keep(C)
    assert [store.has(each) for each in (a, b)] == [False, True]
