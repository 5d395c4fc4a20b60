"""Claims: the first one stands, on every node; only who has the cluster's key can make one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cluster import no_links
from wavelet.cluster.shared_directory import claims
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.cluster.single_node.backend import NodeBackend
from wavelet.cluster.single_node.records import CLAIMS_SCHEMA, SqliteClaims
from wavelet.image.reference import Digest
from wavelet.kinds.table import FORMS
from wavelet.store.database import Database

KEY = bytes(range(32))
YEAR = 365 * 86400.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


Open = Callable[..., SqliteClaims | DirectoryClaims]


@pytest.fixture(params=["sqlite", "directory"])
async def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def opened(key: bytes = KEY, clock: Callable[[], float] | None = None) -> SqliteClaims | DirectoryClaims:
            if request.param == "sqlite":
                database = Database(tmp_path / "records.db", CLAIMS_SCHEMA, synchronous="FULL")
                stack.callback(database.close)
                return SqliteClaims(database, key, clock or Clock())
            kept = DirectoryClaims(tmp_path, key, clock or Clock())
            stack.push_async_callback(kept.close)
            return kept

        yield opened


async def test_the_first_claim_stands(keeper: Open) -> None:
    one, two = keeper(), keeper()
    assert await one.claimed("lock a") is None
    assert await one.claim("lock a", b"first") == b"first"
    assert await two.claim("lock a", b"second") == b"first"
    assert await two.claimed("lock a") == b"first"
    assert await two.claimed("lock b") is None


async def test_a_claim_is_replaced_only_on_request(keeper: Open) -> None:
    kept = keeper()
    await kept.claim("a", b"old")
    assert await kept.claim("a", b"new", replace=True) == b"new"
    assert await keeper().claimed("a") == b"new"


async def test_of_many_claims_at_once_all_get_the_same(tmp_path: Path) -> None:
    nodes = [DirectoryClaims(tmp_path, KEY) for _ in range(4)]
    made = await asyncio.gather(*(node.claim("a", b"%d" % n) for n, node in enumerate(nodes * 5)))
    assert len(set(made)) == 1
    for node in nodes:
        await node.close()


async def test_another_key_neither_reads_nor_keeps_a_claim(keeper: Open) -> None:
    await keeper().claim("a", b"ours")
    foreign = keeper(bytes(32))
    assert await foreign.claimed("a") is None
    assert await foreign.claim("a", b"theirs") == b"theirs"
    assert await keeper().claimed("a") is None


async def test_a_changed_or_moved_claim_is_not_believed(tmp_path: Path) -> None:
    kept = DirectoryClaims(tmp_path, KEY)
    await kept.claim("a", b"ours")
    (file,) = (path for path in (tmp_path / "claims").glob("*/*"))
    moved = tmp_path / "claims" / "aa" / ("a" * 64)
    moved.parent.mkdir(exist_ok=True)
    moved.write_bytes(file.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"ours", b"mine"))
    assert await kept.claimed("a") is None
    await kept.close()


async def test_unused_claims_are_forgotten_and_used_ones_stay(keeper: Open) -> None:
    clock = Clock()
    kept = keeper(KEY, clock)
    await kept.claim("used", b"1")
    await kept.claim("unused", b"2")
    clock.now += 1.5 * YEAR
    assert await kept.claimed("used") == b"1"
    clock.now += YEAR
    await asyncio.sleep(0.1)
    await kept.expire()
    assert await kept.claimed("used") == b"1"
    assert await kept.claimed("unused") is None


async def test_a_claim_that_a_clock_used_which_was_ahead_is_forgotten_in_its_time(keeper: Open) -> None:
    """Fault D2, of claims: what one says is right whatever the clock, so that it stays; but not for ever."""
    clock = Clock()
    kept = keeper(KEY, clock)
    now = clock.now
    clock.now = now + 10 * YEAR
    await kept.claim("read", b"1")
    await kept.claim("unread", b"2")
    clock.now = now
    assert await kept.claimed("read") == b"1"
    await asyncio.sleep(0.1)
    assert await kept.expire() == 0
    assert await kept.claimed("unread") == b"2"
    clock.now = now + 3 * YEAR
    assert await kept.expire() == 2


async def test_a_node_by_itself_says_that_it_shares_no_blobs(tmp_path: Path) -> None:
    backend = NodeBackend(tmp_path / "records.db", KEY, FORMS, YEAR)
    (tmp_path / "made").write_bytes(b"layer")
    assert not backend.claims.shares
    await backend.claims.share(tmp_path / "made", Digest.of(b"layer"))
    assert await backend.claims.fetch(Digest.of(b"layer"), tmp_path / "got") is None
    assert not (tmp_path / "got").exists()
    await backend.close()


async def test_blobs_go_from_node_to_node(tmp_path: Path) -> None:
    one, two = DirectoryClaims(tmp_path / "shared", KEY), DirectoryClaims(tmp_path / "shared", KEY)
    assert one.shares
    data = b"layer" * 1000
    digest = Digest.of(data)
    (tmp_path / "made").write_bytes(data)
    assert await two.fetch(digest, tmp_path / "got") is None
    await one.share(tmp_path / "made", digest)
    await one.share(tmp_path / "made", digest)
    assert await two.fetch(digest, tmp_path / "got") == len(data)
    assert (tmp_path / "got").read_bytes() == data
    (blob,) = (tmp_path / "shared" / "blobs").iterdir()
    blob.write_bytes(data[:-1] + b"x")
    assert await two.fetch(digest, tmp_path / "got") is None
    for node in (one, two):
        await node.close()


@pytest.mark.parametrize("with_links", [0, 2, 4])
async def test_without_hard_links_the_first_claim_stands_too(
    tmp_path: Path, with_links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the nodes of a share, or all, may have no hard links on it."""
    nodes = [DirectoryClaims(tmp_path, KEY) for _ in range(4)]
    made = []
    for n, node in enumerate(nodes):
        with monkeypatch.context() as patch:
            if n >= with_links:
                patch.setattr(os, "link", no_links.link)
            made.append(await node.claim("a", b"%d" % n))
    assert made == [b"0"] * 4
    monkeypatch.setattr(os, "link", no_links.link)
    raced = await asyncio.gather(*(node.claim("b", b"%d" % n) for n, node in enumerate(nodes * 5)))
    assert len(set(raced)) == 1
    assert await nodes[0].claim("a", b"new", replace=True) == b"new"
    assert {await node.claimed("a") for node in nodes} == {b"new"}
    for node in nodes:
        await node.close()


async def test_a_claim_without_hard_links_is_used_and_forgotten_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links.link)
    clock = Clock()
    kept = DirectoryClaims(tmp_path, KEY, clock)
    await kept.claim("used", b"1")
    await kept.claim("unused", b"2")
    clock.now += 1.5 * YEAR
    assert await kept.claimed("used") == b"1"
    clock.now += YEAR
    assert await kept.expire() == 1
    assert await kept.claimed("unused") is None
    assert await kept.claimed("used") == b"1"
    clock.now += 3 * YEAR
    assert await kept.expire() == 1
    assert list((tmp_path / "claims").glob("*/*")) == []
    await kept.close()


async def test_a_claim_that_another_node_caches_the_absence_of_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NFS client may not see a file that keeps it from making one, until it looks at the directory afresh."""
    one, two = DirectoryClaims(tmp_path, KEY), DirectoryClaims(tmp_path, KEY)
    await one.claim("a", b"first")
    seen, afresh = claims.first.read, []

    def read(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
        if not afresh:
            raise FileNotFoundError(path)
        return seen(path, limit)

    monkeypatch.setattr(claims.first, "read", read)
    monkeypatch.setattr(claims, "sync_directory", afresh.append)
    assert await two.claim("a", b"second") == b"first"
    await one.close()
    await two.close()


async def test_what_a_crash_has_left_is_removed(tmp_path: Path) -> None:
    kept = DirectoryClaims(tmp_path, KEY, lambda: claims.time.time() + 2 * claims.LEFTOVER_AGE)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "half.tmp").write_bytes(b"half")
    (tmp_path / "claims" / "aa" / ".half.tmp").mkdir(parents=True)
    (tmp_path / "claims" / "aa" / ".half.tmp" / "content").write_bytes(b"half")
    assert await kept.expire() == 2
    assert [*(tmp_path / "blobs").iterdir(), *(tmp_path / "claims" / "aa").iterdir()] == []
    await kept.close()


async def test_what_is_renewed_lives_on_with_its_blobs(keeper: Open, tmp_path: Path) -> None:
    clock = Clock()
    kept = keeper(clock=clock)
    file, digest = tmp_path / "file", Digest.of(b"made")
    file.write_bytes(b"made")
    await kept.share(file, digest)
    await kept.claim("made first", b"first")
    for _ in range(3):
        clock.now += YEAR
        await kept.renew("made first", [digest, Digest.of(b"absent")])
        await kept.renew("never made", [digest])
        await kept.expire()
    assert await kept.claimed("made first") == b"first"
    assert await kept.claimed("never made") is None
    if kept.shares:
        assert await kept.fetch(digest, tmp_path / "copy") == len(b"made")
