"""Files that were made in a scratch directory, and content that gives way before what it was put together of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opened import ORIGIN, Opened

from wavelet.errors import NoSpace
from wavelet.image.reference import Digest
from wavelet.store.content import Committed
from wavelet.store.ingest import PUBLIC


async def adopt(store: Opened, data: bytes, *, derived: bool = False, public: bool = False) -> Digest:
    digest = Digest.of(data)
    async with store.scratch(len(data), "a test") as directory:
        (directory / "layer").write_bytes(data)
        await store.adopt(directory / "layer", digest, len(data), ORIGIN, derived=derived, public=public)
    return digest


async def test_a_finished_file_becomes_a_blob_and_the_rest_of_its_directory_goes(store: Opened) -> None:
    async with store.scratch(1000, "a test") as directory:
        (directory / "layer").write_bytes(b"layer")
        (directory / "left").write_bytes(b"left over")
        assert store.account() == (0, 1000)
        await store.adopt(directory / "layer", Digest.of(b"layer"), 5, ORIGIN)
    await store.tidied()
    assert store.account() == (5, 0)
    assert store.partials() == []
    blob = store.find(Digest.of(b"layer"), ORIGIN)
    assert isinstance(blob, Committed)
    assert blob.path.read_bytes() == b"layer"
    assert store.find(Digest.of(b"layer"), "elsewhere") is None


async def test_the_same_bytes_may_be_made_twice(store: Opened) -> None:
    digest = await adopt(store, b"same")
    assert await adopt(store, b"same", public=True) == digest
    await store.tidied()
    assert store.account() == (4, 0)
    assert isinstance(store.find(digest, PUBLIC), Committed)


async def test_no_room_is_said_before_anything_is_made(open_store: Callable[..., Opened]) -> None:
    store = open_store(100)
    with pytest.raises(NoSpace, match="a test"):
        async with store.scratch(101, "a test"):
            pytest.fail("there is no room")
    assert store.account() == (0, 0)


async def test_derived_content_gives_way_first_even_if_it_was_used_last(open_store: Callable[..., Opened]) -> None:
    store = open_store(300)
    first = await adopt(store, b"a" * 100)
    tail = await adopt(store, b"t" * 100, derived=True)
    await store.close()
    store.database.close()
    store = open_store(300)
    assert store.has(first)
    assert store.has(tail)
    await store.keep(b"c" * 150)
    assert store.has(first)
    assert not store.has(tail)


async def test_a_crash_leaves_no_scratch_directory(open_store: Callable[..., Opened]) -> None:
    store = open_store()
    scratch = store.scratch(10, "a test")
    directory = await scratch.__aenter__()
    (directory / "half").write_bytes(b"half")
    store = open_store()
    assert store.partials() == []


async def test_what_is_held_stays_until_the_last_holder_lets_go(open_store: Callable[..., Opened]) -> None:
    store = open_store(100)
    digest = await adopt(store, b"a" * 100)
    with store.retention.holding([digest]):
        store.retention.hold([digest])
    with pytest.raises(NoSpace):
        await store.keep(b"b" * 100)
    store.retention.release([digest])
    await store.keep(b"b" * 100)
    assert not store.has(digest)
