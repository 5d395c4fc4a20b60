"""Content that has to be in its place: at once, after the fetch that runs, or not any more."""

from __future__ import annotations

import asyncio

import pytest
from opened import ORIGIN, Opened, Source

from wavelet.errors import NoSpace, UpstreamBroken
from wavelet.image.reference import Digest
from wavelet.store.content import Committed, in_place

DATA = b"some bytes"


async def test_what_is_in_its_place_is_given_at_once(store: Opened) -> None:
    digest = await store.keep(DATA)
    found = store.find(digest, ORIGIN)
    assert await in_place(store, found, ORIGIN, "it") == found


async def test_what_is_on_its_way_is_waited_for(store: Opened) -> None:
    source = Source()
    partial = await store.fetch(source, DATA, len(DATA))
    waiting = asyncio.create_task(in_place(store, partial, ORIGIN, "it"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    source.send(DATA)
    source.end()
    found = await waiting
    assert isinstance(found, Committed)
    assert found.path.read_bytes() == DATA


async def test_what_does_not_come_says_why(store: Opened) -> None:
    partial = await store.fetch(Source.of(b"other"), DATA, None)
    with pytest.raises(UpstreamBroken):
        await in_place(store, partial, ORIGIN, "it")


async def test_what_has_gone_again_is_said(store: Opened) -> None:
    partial = await store.fetch(Source.of(DATA), DATA, None)
    await partial.wait_committed()
    await store.room.evict([Digest.of(DATA)])
    for gone in (partial, None):
        with pytest.raises(NoSpace, match="it was evicted before it could be used; the store is too small"):
            await in_place(store, gone, ORIGIN, "it")
