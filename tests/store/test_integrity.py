"""Bytes on disk that change by themselves, or by somebody's hand: they are noticed, taken out, and come again."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from opened import ORIGIN, Opened, Source
from prometheus_client import REGISTRY

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.image.reference import Digest
from wavelet.store import scrub
from wavelet.store.content import Committed
from wavelet.store.integrity import SMALL, Integrity
from wavelet.store.scrub import Scrub

DOCUMENT = b'{"config": {}}'
LAYER = bytes(SMALL + 1)

INTERVAL = 86400.0


def flip(store: Opened, digest: Digest) -> None:
    """Change a byte of a blob in its place."""
    path = next((store.directory / "blobs").glob(f"*/*/{digest.hex}"))
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)


def rot(store: Opened, digest: Digest) -> None:
    """Change a byte as a disk does: nothing tells that the file was changed, and it was read long ago."""
    flip(store, digest)
    entry = store._entries[digest]
    entry.changed = store._path(digest).stat().st_ctime_ns
    entry.lately = -math.inf


def damaged(found_by: str) -> float:
    return REGISTRY.get_sample_value("wavelet_store_damaged_total", {"found_by": found_by}) or 0.0


async def test_a_document_is_compared_with_its_digest_whenever_it_is_read(store: Opened) -> None:
    """Fault G4: a cached configuration with a flipped byte was read, and images were made of it."""
    digest = await store.keep(DOCUMENT)
    rot(store, digest)
    before = damaged("use")
    assert await store.read(digest, ORIGIN) is None
    assert damaged("use") == before + 1
    assert (store.blobs(), store.partials(), store.account()) == (set(), [], (0, 0))
    await store.keep(DOCUMENT)
    assert await store.read(digest, ORIGIN) == DOCUMENT


async def test_a_document_of_any_size_is_compared(store: Opened) -> None:
    """Fault G4: what is read whole is verified, though as a blob it would be a large one."""
    digest = await store.keep(LAYER)
    rot(store, digest)
    assert await store.read(digest, ORIGIN) is None


@pytest.mark.parametrize(("data", "thorough"), [(DOCUMENT, False), (DOCUMENT, True), (LAYER, True)])
async def test_what_something_new_is_made_of_is_compared_first(store: Opened, data: bytes, thorough: bool) -> None:
    """Fault G4: what is made of content is made of verified content; small content is verified even to be sent."""
    digest = await store.keep(data)
    rot(store, digest)
    assert await store.open(digest, ORIGIN, thorough=thorough) is None
    assert store.blobs() == set()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_large_blob_that_was_written_to_is_not_handed_out(
    open_store: Callable[..., Opened], restarted: bool
) -> None:
    """Fault G4: a byte flipped on disk, same size: it was served under the right digest, for good."""
    store = open_store()
    digest = await store.keep(LAYER)
    if restarted:
        await store.shut()
    flip(store, digest)
    store = open_store() if restarted else store
    assert await store.open(digest, ORIGIN) is None
    assert not store.has(digest)
    await store.keep(LAYER)
    assert isinstance(await store.open(digest, ORIGIN), Committed)


async def test_a_large_blob_that_nothing_has_touched_is_not_read_to_be_handed_out(
    open_store: Callable[..., Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_store()
    digest = await first.keep(LAYER)
    await first.shut()
    store = open_store()
    with monkeypatch.context() as patched:
        patched.setattr(Integrity, "compare", lambda *_: pytest.fail("it is read"))
        assert isinstance(await store.open(digest, ORIGIN), Committed)
    assert isinstance(await store.open(digest, ORIGIN, thorough=True), Committed)
    with monkeypatch.context() as patched:
        patched.setattr(Integrity, "compare", lambda *_: pytest.fail("it is read twice"))
        assert isinstance(await store.open(digest, ORIGIN, thorough=True), Committed)


async def test_a_file_that_was_only_touched_stays(store: Opened) -> None:
    digest = await store.keep(LAYER)
    store._path(digest).chmod(0o400)
    assert isinstance(await store.open(digest, ORIGIN), Committed)
    assert store._entries[digest].changed == store._path(digest).stat().st_ctime_ns


async def test_a_disk_that_cannot_read_has_lost_the_bytes(store: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = await store.keep(LAYER)

    class Broken(FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, *_, **__: Broken(path))
        await store.integrity.scrub(digest)
    assert not store.has(digest)


# -- the scrub --------------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


async def one_round(scrubbing: Scrub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(seconds: float) -> None:
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(scrub.asyncio, "sleep", end)
        with pytest.raises(Stop):
            await scrubbing.run()


async def test_a_scrub_finds_what_nothing_else_would(
    open_scrubbed: Callable[..., tuple[Opened, Scrub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault G4: of blobs, damage is found by a scrub."""
    store, scrubbing = open_scrubbed()
    good, bad = await store.keep(b"good" * SMALL), await store.keep(LAYER)
    rot(store, bad)
    before = damaged("scrub")
    await one_round(scrubbing, monkeypatch)
    assert damaged("scrub") == before  # it is not due
    later = time.time() + INTERVAL + 1
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: later)
        await one_round(scrubbing, monkeypatch)
    assert damaged("scrub") == before + 1
    assert store.blobs() == {good.hex}
    assert store._entries[good].checked == later
    assert store.integrity.due(INTERVAL) == [good]  # the clock is right again: that was ahead


@pytest.mark.parametrize("crashed", [False, True])
async def test_after_a_crash_all_content_is_compared(
    open_scrubbed: Callable[..., tuple[Opened, Scrub]], monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    """Fault G4: a check after an unclean stop."""
    store, scrubbing = open_scrubbed()
    bad, good = await store.keep(LAYER), await store.keep(DOCUMENT)
    if not crashed:
        scrubbing.stopped()
    await store.shut()
    store, scrubbing = open_scrubbed()
    rot(store, bad)
    await one_round(scrubbing, monkeypatch)
    assert store.has(bad) is not crashed
    assert store.has(good)
    assert store.integrity.due(INTERVAL) == []


async def test_the_next_start_looks_at_what_was_changed_meanwhile(
    open_scrubbed: Callable[..., tuple[Opened, Scrub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, scrubbing = open_scrubbed()
    bad, good = await store.keep(LAYER), await store.keep(b"good" * SMALL)
    scrubbing.stopped()
    await store.shut()
    flip(store, bad)
    store, scrubbing = open_scrubbed()
    await store.integrity.doubt(everything=False)
    assert store.integrity.due(INTERVAL) == [bad]
    await one_round(scrubbing, monkeypatch)
    assert store.blobs() == {good.hex}


async def test_what_was_handed_out_unread_is_scrubbed_next(
    open_scrubbed: Callable[..., tuple[Opened, Scrub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault G4: an engine that is given damaged bytes asks again at once; it must not fail for a month."""
    store, scrubbing = open_scrubbed()
    bad = await store.keep(LAYER)
    assert store.integrity.take_handed_out() is None
    later = time.time() + 2 * 86400
    scrubbing.configure(Settings(store=Store(scrub=30 * 86400)))()
    rot(store, bad)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: later)
        assert isinstance(await store.open(bad, ORIGIN), Committed)
        await one_round(scrubbing, monkeypatch)
        assert await store.open(bad, ORIGIN) is None


async def test_without_an_interval_nothing_is_scrubbed(
    open_scrubbed: Callable[..., tuple[Opened, Scrub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, scrubbing = open_scrubbed()
    await store.keep(LAYER)
    scrubbing.configure(Settings(store=Store(scrub=0)))()
    monkeypatch.setattr(Integrity, "scrub", lambda *_: pytest.fail("scrubbed"))
    await store.integrity.doubt(everything=True)
    await one_round(scrubbing, monkeypatch)


async def test_a_stop_ends_a_scrub(open_scrubbed: Callable[..., tuple[Opened, Scrub]]) -> None:
    store, _ = open_scrubbed()
    digest = Digest.of(large := bytes(64 * 1024 * 1024))
    await (await store.fetch(Source.of(large), large, None)).wait_committed()
    began = time.monotonic()
    store.integrity.close()
    with pytest.raises(RuntimeError):
        await store.integrity.scrub(digest)
    assert time.monotonic() - began < 1


@pytest.fixture
def open_scrubbed(open_store: Callable[..., Opened]) -> Callable[..., tuple[Opened, Scrub]]:
    """Return a function that opens the test's store with its scrub."""

    def opened() -> tuple[Opened, Scrub]:
        store: Any = open_store()
        return store, Scrub(store.integrity, store.database, Settings(store=Store(scrub=INTERVAL)))

    return opened
