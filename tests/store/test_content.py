"""The content store: who gets what, single flight, and what readers see while a blob grows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from opened import ORIGIN, Opened, Source

from wavelet.errors import (
    CallerError,
    Internal,
    NoSpace,
    OurError,
    Stopping,
    UpstreamBroken,
    UpstreamUnreachable,
    WaitExpired,
    WaveletError,
)
from wavelet.image.reference import Digest
from wavelet.store import content
from wavelet.store.content import Committed
from wavelet.store.ingest import HOLD_BACK, PartialBlob

DATA = random.Random(7).randbytes(5 * HOLD_BACK + 17)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


# -- who gets what ----------------------------------------------------------------------------------------------------


async def test_bytes_are_found_only_for_the_origin_that_delivered_them(store: Opened) -> None:
    digest = await store.keep(DATA)
    found = store.find(digest, ORIGIN)
    assert isinstance(found, Committed)
    assert (found.size, found.path.read_bytes()) == (len(DATA), DATA)
    assert store.find(digest, "quay.io/other") is None
    assert await store.read(digest, "quay.io/other") is None
    assert await store.read(digest, ORIGIN) == DATA
    assert store.find(Digest.of(b"unknown"), ORIGIN) is None


async def test_a_growing_blob_is_its_origins_alone_even_if_public(store: Opened) -> None:
    source = Source(public=True)
    partial = await store.fetch(source, DATA, len(DATA))
    assert store.find(partial.digest, ORIGIN) is partial
    assert store.find(partial.digest, "quay.io/other") is None
    source.send(DATA)
    source.end()
    await partial.wait_committed()
    assert store.has(partial.digest, "quay.io/other")


async def test_public_bytes_are_everyones_also_after_a_restart(open_store: Callable[..., Opened]) -> None:
    first = open_store()
    public, private = await first.keep(b"public", public=True), await first.keep(b"private")
    await first.shut()
    again = open_store()
    assert again.has(public, "anything")
    assert again.has(private)
    assert not again.has(private, "anything")


async def test_a_second_origin_has_to_deliver_the_bytes_itself(open_store: Callable[..., Opened]) -> None:
    store = open_store()
    digest = await store.keep(DATA)
    source = Source.of(b"something else")
    with pytest.raises(UpstreamBroken):
        await (await store.fetch(source, DATA, None, "quay.io/liar")).wait_committed()
    assert source.opened == 1
    assert not store.has(digest, "quay.io/liar")
    await store.keep(DATA, "quay.io/second")
    assert store.account() == (len(DATA), 0)
    await store.shut()
    again = open_store()
    assert again.has(digest)
    assert again.has(digest, "quay.io/second")
    assert not again.has(digest, "quay.io/liar")


async def test_two_origins_may_deliver_the_same_digest_at_once(store: Opened) -> None:
    sources = [Source(), Source()]
    partial = [await store.fetch(s, DATA, len(DATA), f"origin {n}") for n, s in enumerate(sources)]
    assert partial[0] is not partial[1]
    for source in sources:
        source.send(DATA)
        source.end()
    await asyncio.gather(*(each.wait_committed() for each in partial))
    assert store.account() == (len(DATA), 0)
    assert store.blobs() == {Digest.of(DATA).hex}
    assert store.partials() == []
    assert store.has(Digest.of(DATA), "origin 0")
    assert store.has(Digest.of(DATA), "origin 1")


# -- single flight ----------------------------------------------------------------------------------------------------


async def test_a_digest_is_fetched_once_however_many_ask(store: Opened) -> None:
    source, other = Source(), Source()
    partial = await store.fetch(source, DATA, len(DATA))
    joined = await asyncio.gather(*(store.fetch(other, DATA, len(DATA)) for _ in range(50)))
    assert all(each is partial for each in joined)
    readers = [asyncio.create_task(store.read(partial.digest, ORIGIN)) for _ in range(20)]
    source.send(DATA)
    source.end()
    assert set(await asyncio.gather(*readers)) == {DATA}
    assert (source.opened, other.opened) == (1, 0)
    await store.add(DATA, partial.digest, ORIGIN)


async def test_a_fetch_goes_on_when_all_who_wait_have_gone(store: Opened) -> None:
    source = Source()
    partial = await store.fetch(source, DATA, len(DATA))
    waiter = asyncio.create_task(partial.wait_committed())
    await asyncio.sleep(0)
    waiter.cancel()
    source.send(DATA)
    source.end()
    await until(lambda: isinstance(store.find(partial.digest, ORIGIN), Committed))


async def test_a_failed_fetch_leaves_nothing_and_the_next_one_starts_anew(store: Opened) -> None:
    source = Source.of(b"wrong")
    with pytest.raises(UpstreamBroken):
        await (await store.fetch(source, DATA, None)).wait_committed()
    assert store.account() == (0, 0)
    assert store.partials() == []
    await store.keep(DATA)
    assert store.has(Digest.of(DATA))


# -- partial ----------------------------------------------------------------------------------------------------------


def follow(partial: PartialBlob, seen: list[int]) -> asyncio.Task[bytes]:
    """Read as the registry's door does: the file is opened before anything is awaited."""
    return asyncio.create_task(_follow(partial, partial.open(), seen))


async def _follow(partial: PartialBlob, opened: BinaryIO, seen: list[int]) -> bytes:
    data = b""
    with opened as file:
        while not (partial.verified and len(data) >= partial.readable):
            readable = await partial.wait_for_offset(len(data))
            while len(data) < readable:
                data += file.read(readable - len(data))
            seen.append(len(data))
    return data


@pytest.mark.parametrize("size", [len(DATA), None])
async def test_readers_follow_but_never_get_the_last_bytes_before_they_are_verified(
    store: Opened, size: int | None
) -> None:
    source = Source()
    partial = await store.fetch(source, DATA, size)
    seen: list[int] = []
    readers = [follow(partial, seen) for _ in range(3)]
    half = 3 * HOLD_BACK
    source.send(DATA[:half])
    await until(lambda: len(seen) >= 3)
    assert set(seen) == {half if size is not None else half - HOLD_BACK}
    source.send(DATA[half:])
    await until(lambda: partial.readable == len(DATA) - HOLD_BACK)
    await asyncio.sleep(0.02)
    assert max(seen) == len(DATA) - HOLD_BACK
    assert not partial.verified
    source.end()
    assert set(await asyncio.gather(*readers)) == {DATA}


async def test_a_blob_smaller_than_what_is_held_back_is_shown_when_it_is_whole(store: Opened) -> None:
    source = Source(size=5)
    partial = await store.fetch(source, b"small", 5)
    source.send(b"small")
    await asyncio.sleep(0.02)
    assert partial.readable == 0
    source.end()
    assert await partial.wait_for_offset(0) == 5


async def test_an_empty_blob(store: Opened) -> None:
    assert await store.keep(b"")
    assert await store.read(Digest.of(b""), ORIGIN) == b""


FAULTS = [
    pytest.param([DATA[:-1] + b"?"], len(DATA), None, "digest", id="wrong-bytes"),
    pytest.param([DATA[:-1]], len(DATA), None, r"ended after \d+ of", id="too-short"),
    pytest.param([DATA[:-1]], None, len(DATA), r"ended after \d+ of", id="shorter-than-said"),
    pytest.param([DATA, b"x"], len(DATA), None, "more bytes", id="too-long"),
    pytest.param([DATA, b"x"], None, len(DATA), "more bytes", id="longer-than-said"),
    pytest.param([DATA + b"x"], None, None, "digest", id="too-long-of-unknown-size"),
    pytest.param([DATA], len(DATA) + 1, None, "ended after", id="wrong-size-asked"),
    pytest.param([DATA], len(DATA), len(DATA) - 1, "instead of", id="another-size-said"),
    pytest.param([], None, None, "digest", id="nothing"),
]


@pytest.mark.parametrize(("chunks", "asked", "said", "says"), FAULTS)
async def test_bytes_that_are_not_what_they_should_be_reach_no_end_and_are_not_kept(
    store: Opened, chunks: list[bytes], asked: int | None, said: int | None, says: str
) -> None:
    source = Source(said)
    partial = await store.fetch(source, DATA, asked)
    seen: list[int] = [0]
    readers = [follow(partial, seen) for _ in range(3)]
    for chunk in chunks:
        source.send(chunk)
    source.end()
    answers = await asyncio.gather(
        *readers, partial.wait_committed(), partial.wait_for_offset(1 << 40), return_exceptions=True
    )
    for answer in answers:
        assert isinstance(answer, UpstreamBroken)
    with pytest.raises(UpstreamBroken, match=says):
        await partial.wait_for_offset(len(DATA))
    assert max(seen) <= max(0, max(len(DATA), sum(map(len, chunks)), asked or 0) - HOLD_BACK)
    assert store.blobs() == set()
    assert store.partials() == []
    assert store.account() == (0, 0)
    assert not store.has(partial.digest)


async def test_who_is_to_blame_is_said_by_who_asks(store: Opened) -> None:
    def blame(message: str) -> WaveletError:
        return CallerError(message)

    partial = await store.ingest(Digest.of(DATA), None, ORIGIN, Source.of(b"x"), blame)
    with pytest.raises(CallerError):
        await partial.wait_committed()


async def test_the_sources_own_error_reaches_every_reader(store: Opened) -> None:
    source = Source()
    partial = await store.fetch(source, DATA, len(DATA))
    readers = [asyncio.create_task(partial.wait_for_offset(0)) for _ in range(3)]
    await asyncio.sleep(0)
    source.end(UpstreamUnreachable("it broke off"))
    answers = await asyncio.gather(*readers, return_exceptions=True)
    for answer in answers:
        assert isinstance(answer, UpstreamUnreachable)
        # One's own: the steps of the other readers are not in its traceback.
        steps = [frame.name for frame in traceback.extract_tb(answer.__traceback__)]
        assert steps.count("wait_for_offset") == 1
    assert len({id(answer) for answer in answers}) == len(readers)


async def test_a_blob_that_has_come_opens_no_other_file(store: Opened, tmp_path: Path) -> None:
    """Its descriptor is closed then, and the next file that is opened has its number."""
    source = Source()
    partial = await store.fetch(source, DATA, len(DATA))
    with partial.open() as early, contextlib.ExitStack() as stack:
        source.send(DATA)
        source.end()
        await partial.wait_committed()
        (tmp_path / "other").write_bytes(b"of somebody else")
        others = [stack.enter_context((tmp_path / "other").open("rb")) for _ in range(64)]
        assert any(other.fileno() == partial._fd for other in others)
        with pytest.raises(WaitExpired):
            partial.open()
        assert early.read() == DATA, "who has opened it before reads on"


async def test_a_blob_that_does_not_come_says_why_when_it_is_opened(store: Opened) -> None:
    partial = await store.fetch(Source.of(b"x"), DATA, len(DATA))
    with pytest.raises(UpstreamBroken):
        await partial.wait_committed()
    with pytest.raises(UpstreamBroken):
        partial.open()


async def test_a_defect_of_the_source_is_ours_and_ends_the_wait(store: Opened) -> None:
    source = Source()
    partial = await store.fetch(source, DATA, len(DATA))
    source.end(ValueError("a defect"))
    with pytest.raises(Internal):
        await partial.wait_committed()
    assert store.account() == (0, 0)


async def test_something_else_in_the_place_of_a_directory_is_said(open_store: Callable[..., Opened]) -> None:
    """Fault D4: a file where blobs go was told as a defect, and whoever waited heard of nothing."""
    store = open_store()
    place = store.directory / "blobs" / "sha256"
    place.write_text("no directory")
    partial = await store.fetch(Source.of(DATA), DATA, len(DATA))
    with pytest.raises(OurError, match=r"state directory cannot be written: .*blobs/sha256"):
        await partial.wait_committed()
    await store.shut()
    again = open_store()
    await (await again.fetch(Source.of(DATA), DATA, len(DATA))).wait_committed()
    assert place.is_dir()


async def test_closing_ends_running_fetches_with_an_error_for_their_readers(store: Opened) -> None:
    partial = await store.fetch(Source(), DATA, len(DATA))
    reader = asyncio.create_task(partial.wait_for_offset(0))
    await asyncio.sleep(0.01)
    await store.close()
    with pytest.raises(Stopping):
        await reader
    assert store.account() == (0, 0)


async def test_no_thread_writes_to_a_file_that_was_closed(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed file's number may be that of another file, the database's for one."""
    begun, errors = asyncio.Event(), list[OSError]()
    loop, pwrite = asyncio.get_running_loop(), os.pwrite

    def slow(fd: int, data: bytes, offset: int) -> int:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.2)
        try:
            return pwrite(fd, data, offset)
        except OSError as error:
            errors.append(error)
            raise

    monkeypatch.setattr(os, "pwrite", slow)
    source = Source()
    await store.fetch(source, DATA, len(DATA))
    source.send(DATA)
    source.end()  # the fetch now waits for the thread itself
    await begun.wait()
    await store.close()
    await asyncio.sleep(0.3)
    assert errors == []


# -- disk full --------------------------------------------------------------------------------------------------------


async def test_a_full_disk_fails_that_fetch_and_says_so(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(NoSpace, match="full"):
            await store.keep(DATA)
    assert store.account() == (0, 0)
    assert store.partials() == []
    await store.keep(DATA)


async def test_short_writes_are_completed(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:1000], offset))
    digest = await store.keep(DATA)
    assert await store.read(digest, ORIGIN) == DATA


async def test_what_cannot_be_put_into_place_is_not_kept(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(partial: Path, final: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(content, "move_into_place", full)
    partial = await store.fetch(Source.of(DATA), DATA, len(DATA))
    await partial.wait_for_offset(len(DATA))  # its readers have all of it
    with pytest.raises(NoSpace):
        await partial.wait_committed()
    assert not store.has(Digest.of(DATA))
    assert store.account() == (0, 0)
    assert store.partials() == []


async def test_a_blob_whose_file_has_gone_is_not_found_and_can_come_again(store: Opened) -> None:
    digest = await store.keep(DATA)
    found = store.find(digest, ORIGIN)
    assert isinstance(found, Committed)
    found.path.unlink()
    assert not store.has(digest)
    assert store.account() == (0, 0)
    await store.keep(DATA)
    assert store.has(digest)
