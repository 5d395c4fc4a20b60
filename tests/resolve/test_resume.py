"""A broken transfer is taken up again where it broke, within bounds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from wavelet.errors import TooLarge, UpstreamBroken, UpstreamUnreachable
from wavelet.resolve import archives
from wavelet.resolve.archives import RESUMES, resuming
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.retry import RetryPolicy

DATA = bytes(range(200))


@dataclass
class Source:
    """Connections as scripted: how many bytes each gives before it breaks; the last one goes on for ever."""

    script: list[int]
    ranges: bool = True
    size: int | None = len(DATA)
    refused: int = 0
    chunk: int = 7

    def __post_init__(self) -> None:
        self.opened: list[int] = []

    @contextlib.asynccontextmanager
    async def open(self, offset: int) -> AsyncIterator[SimpleNamespace]:
        self.opened.append(offset)
        if self.refused and len(self.opened) > 1:
            self.refused -= 1
            raise UpstreamUnreachable("no connection")
        start = offset if self.ranges else 0
        count = self.script.pop(0) if len(self.script) > 1 else self.script[0]

        async def chunks() -> AsyncIterator[bytes]:
            data = DATA[start : start + count]
            for position in range(0, len(data), self.chunk):
                yield data[position : position + self.chunk]
            if start + count < len(DATA):
                raise UpstreamUnreachable("it broke off")

        yield SimpleNamespace(offset=start, size=self.size, chunks=chunks(), granted=Granted(public=True, by="test"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RESUMING", RetryPolicy(RESUMES + 1, 0.0, 2.0))


async def read(source: Source, limit: int | None = None) -> bytes:
    data = b""
    async with resuming(source.open, "host", limit)(0) as incoming:  # type: ignore[arg-type]
        assert incoming.size == source.size
        assert incoming.public
        async for chunk in incoming.chunks:
            data += chunk
    return data


@pytest.mark.parametrize("ranges", [True, False])
async def test_it_goes_on_where_it_broke(ranges: bool) -> None:
    source = Source([50, 60 if ranges else 110, 200], ranges)
    assert await read(source) == DATA
    assert source.opened == [0, 50, 110]


async def test_as_long_as_bytes_come_it_goes_on() -> None:
    source = Source([10])
    assert await read(source) == DATA
    assert len(source.opened) == 20


async def test_without_progress_it_ends() -> None:
    source = Source([10, 0])
    with pytest.raises(UpstreamUnreachable):
        await read(source)
    assert source.opened == [0] + [10] * RESUMES


async def test_a_registry_that_is_away_for_a_moment_is_asked_again() -> None:
    source = Source([50, 200], refused=RESUMES - 1)
    assert await read(source) == DATA
    away = Source([50, 200], refused=RESUMES)
    with pytest.raises(UpstreamUnreachable, match="no connection"):
        await read(away)


async def test_a_clean_end_too_soon_is_taken_up_too() -> None:
    source = Source([200], size=len(DATA) + 5)
    with pytest.raises(UpstreamUnreachable, match="200 of 205"):
        await read(source)
    assert source.opened[1:] == [200] * RESUMES


async def test_another_range_than_asked_for_is_refused() -> None:
    source = Source([50])

    @contextlib.asynccontextmanager
    async def wrong(offset: int) -> AsyncIterator[SimpleNamespace]:
        async with source.open(offset) as stream:
            stream.offset += 1 if offset else 0
            yield stream

    with pytest.raises(UpstreamBroken, match="asked for bytes from 50"):
        async with resuming(wrong, "host")(0) as incoming:  # type: ignore[arg-type]
            async for _ in incoming.chunks:
                pass


async def test_a_limit_holds_for_what_is_said_and_for_what_comes() -> None:
    assert await read(Source([200]), 200) == DATA
    said, silent = Source([200]), Source([200], size=None)
    with pytest.raises(TooLarge, match="199 B"):
        await read(said, 199)
    with pytest.raises(TooLarge):
        await read(silent, 199)


async def test_a_limited_transfer_has_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.monotonic()
    source = Source([200])
    with pytest.raises(UpstreamBroken, match="longer than"):
        async with resuming(source.open, "host", 1000)(0) as incoming:  # type: ignore[arg-type]
            monkeypatch.setattr(time, "monotonic", lambda: start + archives.TRANSFER_LIMIT + 5)
            async for _ in incoming.chunks:
                pass
