"""The sources of blobs that are pushed: verified on the way, followed while they grow, resumed at any offset."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.errors import UpstreamBroken, UpstreamUnreachable
from wavelet.image.image import OCI_LAYER, Descriptor
from wavelet.image.reference import Digest
from wavelet.push import blob_sources
from wavelet.push.blob_sources import from_store, verified
from wavelet.store.content import SCHEMA, Blob, ContentStore
from wavelet.store.database import Database
from wavelet.store.ingest import Incoming, Opener
from wavelet.upstream.pusher import PushSource

DATA = random.Random(1).randbytes(3_000_000)
LAYER = Descriptor(OCI_LAYER, Digest.of(DATA), len(DATA))


def serving(data: bytes, *, piece: int = 100_000, size: int | None = None) -> Opener:
    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        async def chunks() -> AsyncIterator[bytes]:
            for start in range(offset, len(data), piece):
                yield data[start : start + piece]

        yield Incoming(offset, size, chunks(), public=True)

    return opener


async def read(source: PushSource, offset: int = 0, upto: int = 10**9) -> bytes:
    taken = b""
    async with source.open(offset) as pieces:
        async for piece in pieces:
            taken += piece if isinstance(piece, bytes) else b"".join([each async for each in piece.read()])
            if len(taken) >= upto:
                break
    return taken


async def test_right_bytes_pass() -> None:
    assert await read(verified(LAYER, serving(DATA, size=len(DATA)), "somewhere")) == DATA
    nothing = Descriptor(OCI_LAYER, Digest.of(b""), 0)
    assert await read(verified(nothing, serving(b""), "somewhere")) == b""


@pytest.mark.parametrize("break_at", [1, 700_000, 1_600_000, 3_000_000])
@pytest.mark.parametrize("back", [0, 1, 400_000, 10**9])
async def test_what_is_opened_again_is_verified_from_there_on(
    break_at: int, back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_sources, "STATE_EVERY", 600_000)
    served = DATA
    asked: list[int] = []

    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        asked.append(offset)
        async with serving(served)(offset) as incoming:
            yield incoming

    source = verified(LAYER, opener, "somewhere")
    begun = await read(source, upto=break_at)
    again = max(0, len(begun) - back)
    assert begun[:again] + await read(source, again) == DATA
    assert again - asked[-1] <= 600_000, "what was hashed before is not read again"
    for changed in (again, LAYER.size - 1):
        served = DATA[:changed] + b"???" + DATA[changed + 3 :]
        if again < LAYER.size:
            with pytest.raises(UpstreamBroken, match=r"has (the digest|more)"):
                await read(source, again)


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (DATA[:-1] + b"?", "somewhere: .* has the digest"),
        (DATA + b"?", "has more than the 3000000 bytes"),
        (DATA[:-1], "ended after 2999999 of 3000000"),
        (b"", "ended after 0 of"),
    ],
)
async def test_wrong_bytes_are_never_whole(served: bytes, said: str) -> None:
    taken = 0
    with pytest.raises(UpstreamBroken, match=said):
        async with verified(LAYER, serving(served), "somewhere").open(0) as pieces:
            async for piece in pieces:
                taken += len(piece)
    assert taken < len(DATA) or served.startswith(DATA)


async def test_another_size_is_refused_at_once() -> None:
    with pytest.raises(UpstreamBroken, match="has 5 bytes there instead of 3000000"):
        await read(verified(LAYER, serving(b"other", size=5), "somewhere"))


async def test_what_is_begun_in_the_middle_is_verified_from_the_start() -> None:
    assert await read(verified(LAYER, serving(DATA), "somewhere"), 1_000_000) == DATA[1_000_000:]
    with pytest.raises(UpstreamBroken, match="has the digest"):
        await read(verified(LAYER, serving(b"?" + DATA[1:]), "somewhere"), 1_000_000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    made = ContentStore(tmp_path, database, Settings(store=Store(limit=10**9)))
    yield made
    await made.close()
    database.close()


def of_store(store: ContentStore) -> PushSource:
    async def find() -> Blob:
        blob = await store.open(LAYER.digest, "somewhere")
        assert blob is not None
        return blob

    return from_store(LAYER, store, find)


async def test_a_file_of_the_store_is_read_from_any_offset_and_held(store: ContentStore) -> None:
    await store.add(DATA, LAYER.digest, "somewhere")
    source = of_store(store)
    assert await read(source) == DATA
    assert await read(source, 2_999_990) == DATA[2_999_990:]
    async with source.open(0) as pieces:
        await anext(pieces)
        assert store.retention.stays(LAYER.digest)
    assert not store.retention.stays(LAYER.digest)


async def test_a_growing_file_is_followed_to_its_verified_end(store: ContentStore) -> None:
    go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        async def chunks() -> AsyncIterator[bytes]:
            yield DATA[:2_000_000]
            await go_on.wait()
            yield DATA[2_000_000:]

        yield Incoming(0, len(DATA), chunks(), public=True)

    await store.ingest(LAYER.digest, LAYER.size, "somewhere", opener)
    taken = b""
    async with of_store(store).open(0) as pieces:
        async for piece in pieces:
            taken += piece if isinstance(piece, bytes) else b"".join([each async for each in piece.read()])
            if len(taken) >= 1_000_000:
                go_on.set()
    assert taken == DATA
    assert await read(of_store(store), 1_500_000) == DATA[1_500_000:]


async def test_a_growing_file_that_fails_breaks_off(store: ContentStore) -> None:
    @contextlib.asynccontextmanager
    async def opener(offset: int) -> AsyncIterator[Incoming]:
        async def chunks() -> AsyncIterator[bytes]:
            yield DATA[:2_000_000]
            raise UpstreamUnreachable("it broke")

        yield Incoming(0, len(DATA), chunks(), public=True)

    await store.ingest(LAYER.digest, LAYER.size, "somewhere", opener)
    with pytest.raises(UpstreamUnreachable, match="it broke"):
        await read(of_store(store))
