"""Shared work: once however many ask, nobody's to stop, and failures that stand for as long as their fault says."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wavelet.errors import (
    AccessRefused,
    ImageNotFound,
    Internal,
    NoSpace,
    UpstreamBusy,
    UpstreamUnreachable,
    WaitExpired,
    WaveletError,
)
from wavelet.resolve import job as module
from wavelet.resolve.job import Jobs


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    made = Jobs()
    yield made
    await made.close()


class Work:
    """Work that ends when the test says so, and counts how often it was begun."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.cancelled = False
        self.go_on = asyncio.Event()
        self._error = error

    async def __call__(self) -> str:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return "done"


async def test_equal_work_is_done_once(jobs: Jobs) -> None:
    work = Work()
    joined = [jobs.join("make", "key", work, 5) for _ in range(20)]
    other = jobs.join("pin", "key", work, 5)
    await asyncio.sleep(0)
    assert work.begun == 2
    work.go_on.set()
    assert await asyncio.gather(*(each.result() for each in joined)) == ["done"] * 20
    assert await other.result() == "done"
    assert joined[0].done
    await jobs.join("make", "key", work, 5).result()
    assert work.begun == 3


async def test_a_waiter_that_goes_away_stops_nothing(jobs: Jobs) -> None:
    work = Work()
    job = jobs.join("make", "key", work, 5)
    waiters = [asyncio.create_task(job.result()) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiters[0].cancel()
    waiters[1].cancel()
    await asyncio.gather(*waiters[:2], return_exceptions=True)
    work.go_on.set()
    assert await waiters[2] == "done"
    assert not work.cancelled


async def test_a_bounded_wait_ends_without_the_job(jobs: Jobs) -> None:
    work = Work()
    job = jobs.join("make", "key", work, 5)
    with pytest.raises(WaitExpired) as caught:
        await job.result(0.01)
    assert caught.value.retry_after
    assert not job.done
    assert jobs.join("make", "key", work, 5) is job
    work.go_on.set()
    assert await job.result(5) == "done"


async def test_a_job_ends_by_its_own_time(jobs: Jobs) -> None:
    work = Work()
    with pytest.raises(WaitExpired, match="gave up"):
        await jobs.join("make", "key", work, 0.02).result()
    assert work.cancelled
    work.go_on.set()
    assert await jobs.join("make", "key", work, 5).result() == "done"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ImageNotFound("x"), 60.0),
        (AccessRefused("x"), 60.0),
        (UpstreamUnreachable("x"), 5.0),
        (UpstreamBusy("x"), 5.0),
        (NoSpace("x"), 0.0),
        (Internal("x"), 0.0),
    ],
)
async def test_a_failure_stands_as_long_as_its_fault_says(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, error: WaveletError, seconds: float
) -> None:
    work = Work(error)
    work.go_on.set()
    with pytest.raises(type(error)):
        await jobs.join("make", "key", work, 5).result()
    start = time.monotonic()
    if seconds:
        monkeypatch.setattr(time, "monotonic", lambda: start + seconds - 0.5)
        with pytest.raises(type(error)):
            jobs.join("make", "key", work, 5)
        assert work.begun == 1
        with pytest.raises(WaveletError):
            await jobs.join("make", "other key", work, 5).result()
        assert work.begun == 2
    begun = work.begun
    monkeypatch.setattr(time, "monotonic", lambda: start + seconds + 0.5)
    with pytest.raises(type(error)):
        await jobs.join("make", "key", work, 5).result()
    assert work.begun == begun + 1


async def test_what_fails_because_of_a_remembered_failure_is_remembered_no_longer(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Work(UpstreamUnreachable("x"))
    part.go_on.set()

    async def whole() -> str:
        return await jobs.join("make", "part", part, 5).result()

    now = time.monotonic()
    with pytest.raises(UpstreamUnreachable):
        await jobs.join("make", "part", part, 5).result()
    for later, begun in ((4.5, 1), (5.5, 2)):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        with pytest.raises(UpstreamUnreachable):
            await jobs.join("make", "whole", whole, 5).result()
        assert part.begun == begun


async def test_a_defect_is_ours_and_is_not_remembered(jobs: Jobs) -> None:
    work = Work(ValueError("a defect"))
    work.go_on.set()
    for _ in range(2):
        with pytest.raises(Internal):
            await jobs.join("make", "key", work, 5).result()
    assert work.begun == 2


async def test_a_failure_that_nobody_waits_for_is_no_warning_but_stands(jobs: Jobs) -> None:
    work = Work(ImageNotFound("x"))
    work.go_on.set()
    job = jobs.join("make", "key", work, 5)
    while not job.done:
        await asyncio.sleep(0)
    with pytest.raises(ImageNotFound):
        jobs.join("make", "key", work, 5)


async def test_the_number_of_remembered_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_FAILURES", 3)
    jobs = Jobs()
    work = Work(ImageNotFound("x"))
    work.go_on.set()
    for key in range(5):
        with pytest.raises(ImageNotFound):
            await jobs.join("make", key, work, 5).result()
    assert len(jobs._failed) == 3
    with pytest.raises(ImageNotFound):
        await jobs.join("make", 0, work, 5).result()
    assert work.begun == 6


async def test_closing_ends_what_runs() -> None:
    jobs, work = Jobs(), Work()
    job = jobs.join("make", "key", work, 5)
    await asyncio.sleep(0)
    await jobs.close()
    assert work.cancelled
    assert job.done


async def test_a_job_may_join_another(jobs: Jobs) -> None:
    inner = Work()
    inner.go_on.set()

    def outer(key: str) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            return await jobs.join("make", "inner", inner, 5).result() + key

        return work

    made = await asyncio.gather(*(jobs.join("make", key, outer(key), 5).result() for key in "ab"))
    assert made == ["donea", "doneb"]
    assert inner.begun == 1


async def test_a_failure_stands_no_longer_than_it_says_itself_and_can_be_forgotten(jobs: Jobs) -> None:
    """Fault E7: what had failed stood for its own time, behind one that had ended, and for those who refresh too."""
    error = ImageNotFound("x")
    error.cached_until = time.monotonic()
    work = Work(error)
    work.go_on.set()
    for _ in range(2):
        with pytest.raises(ImageNotFound):
            await jobs.join("solve", "key", work, 5).result()
    assert work.begun == 2
    lasting = Work(ImageNotFound("y"))
    lasting.go_on.set()
    for times in (1, 2):
        with pytest.raises(ImageNotFound):
            await jobs.join("solve", "other", lasting, 5).result()
        assert lasting.begun == times
        jobs.forget("solve", "other")


async def test_a_failure_that_stands_keeps_nothing_of_what_was_at_work(jobs: Jobs) -> None:
    held: list[weakref.ref[Work]] = []

    async def fail() -> None:
        large = Work()
        held.append(weakref.ref(large))
        try:
            raise OSError("no route")
        except OSError as error:
            raise UpstreamUnreachable("down") from error

    with contextlib.suppress(UpstreamUnreachable):
        await jobs.join("make", "key", fail, 5).result()
    with contextlib.suppress(UpstreamUnreachable):
        jobs.join("make", "key", fail, 5)
    gc.collect()
    assert [each() for each in held] == [None]
