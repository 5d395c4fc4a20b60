"""Jobs that nobody asked to keep: they end when the last waiter is cancelled, and only then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest
from test_jobs import Work

from wavelet.errors import WaitExpired
from wavelet.resolve.events import PhaseBegan
from wavelet.resolve.job import Job, Jobs, account, asking


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    made = Jobs()
    yield made
    await made.close()


def unkept(jobs: Jobs, key: str, work: Callable[[], Awaitable[str]]) -> Job[str]:
    with asking(keep=False):
        return jobs.join("make", key, work, 5)


async def waiters(job: Job[str], count: int) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(job.result()) for _ in range(count)]
    await asyncio.sleep(0.01)
    return tasks


async def cancel(*tasks: asyncio.Task[str]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)


async def test_one_leaves_and_it_goes_on_all_leave_and_it_ends(jobs: Jobs) -> None:
    work = Work()
    job = unkept(jobs, "key", work)
    one, other = await waiters(job, 2)
    await cancel(one)
    assert not work.cancelled
    await cancel(other)
    assert work.cancelled
    assert job.given_up
    assert len(jobs) == 0
    work.go_on.set()
    assert await unkept(jobs, "key", work).result() == "done"
    assert work.begun == 2


async def test_a_kept_one_goes_on_whoever_asked_to_keep_it(jobs: Jobs) -> None:
    work = Work()
    (first,) = await waiters(unkept(jobs, "key", work), 1)
    job = jobs.join("make", "key", work, 5)
    await cancel(first)
    assert not work.cancelled
    work.go_on.set()
    assert await job.result() == "done"


async def test_a_wait_that_is_over_ends_nothing(jobs: Jobs) -> None:
    work = Work()
    job = unkept(jobs, "key", work)
    with pytest.raises(WaitExpired):
        await job.result(0.01)
    assert not work.cancelled
    work.go_on.set()
    assert await unkept(jobs, "key", work).result() == "done"
    assert work.begun == 1


async def test_what_jobs_ask_for_is_kept_as_they_are(jobs: Jobs) -> None:
    inner = Work()

    async def outer() -> str:
        return await jobs.join("make", "inner", inner, 5).result()

    (one,) = await waiters(unkept(jobs, "one", outer), 1)
    (other,) = await waiters(unkept(jobs, "other", outer), 1)
    await cancel(one)
    assert not inner.cancelled  # the other one waits for it too
    jobs.join("make", "other", outer, 5)  # somebody asks to keep the other, and with it what that waits for
    await cancel(other)
    assert not inner.cancelled
    inner.go_on.set()
    assert await jobs.join("make", "other", outer, 5).result() == "done"
    (last,) = await waiters(unkept(jobs, "last", outer), 1)
    await asyncio.sleep(0)
    assert await last == "done"


async def test_nested_work_ends_with_what_asked_for_it(jobs: Jobs) -> None:
    inner = Work()

    async def outer() -> str:
        return await jobs.join("make", "inner", inner, 5).result()

    await cancel(*await waiters(unkept(jobs, "outer", outer), 1))
    assert inner.cancelled
    assert len(jobs) == 0


async def test_a_new_attempt_does_not_wait_for_what_tidies_up(jobs: Jobs) -> None:
    tidied = asyncio.Event()
    begun = 0

    async def work() -> str:
        nonlocal begun
        begun += 1
        if begun > 1:
            return "done"
        try:
            await asyncio.sleep(60)
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await tidied.wait()
        return ""

    await cancel(*await waiters(unkept(jobs, "key", work), 1))
    assert await unkept(jobs, "key", work).result() == "done"
    tidied.set()


async def test_watchers_are_waiters(jobs: Jobs) -> None:
    async def work() -> str:
        account().begin("pinning")
        await asyncio.sleep(60)
        return ""

    job = unkept(jobs, "key", work)
    (waiter,) = await waiters(job, 1)
    async with aclosing(job.watch()) as events:
        assert await anext(events) == PhaseBegan("pinning")
    assert not job.given_up
    async with aclosing(job.watch()) as events:
        assert await anext(events) == PhaseBegan("pinning")
        await cancel(waiter)
        assert not job.given_up
    assert job.given_up
