"""Waiting for several things at once: what a failure of one of them does to the others."""

from __future__ import annotations

import asyncio

import pytest

from wavelet import concurrency as module
from wavelet.concurrency import gather_all
from wavelet.errors import ImageNotFound, UpstreamUnreachable

ABSENT = ImageNotFound("there is no such image")
AWAY = UpstreamUnreachable("nobody answers")


class Stalled:
    """Work that never ends by itself; it notes that it was cancelled."""

    cancelled = False

    async def work(self) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "never"


async def done(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def fail(error: Exception, turns: int = 1) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    raise error


async def test_results_come_in_the_order_of_what_was_given() -> None:
    assert await gather_all([done("a"), done("b")]) == ["a", "b"]
    assert await gather_all([]) == []


async def test_a_definite_no_ends_all_at_once() -> None:
    """Fault A5: a part that stalls does not hold up another one's definite no."""
    stalled = Stalled()
    async with asyncio.timeout(1):
        with pytest.raises(ImageNotFound) as raised:
            await gather_all([stalled.work(), fail(ABSENT)])
    assert raised.value is ABSENT
    assert stalled.cancelled


async def test_what_may_pass_gives_way_to_a_definite_no() -> None:
    stalled = Stalled()
    with pytest.raises(ImageNotFound):
        await gather_all([fail(AWAY), stalled.work(), fail(ABSENT, turns=5)])


async def test_what_may_pass_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_WAIT", 0.01)
    stalled = Stalled()
    with pytest.raises(UpstreamUnreachable):
        await gather_all([stalled.work(), fail(AWAY)])
    assert stalled.cancelled


async def test_cancelled_from_outside_it_cancels_all() -> None:
    stalled = Stalled()
    task = asyncio.create_task(gather_all([stalled.work(), done("a")]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stalled.cancelled
