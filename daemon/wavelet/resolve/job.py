"""Work that is shared and belongs to nobody: one job per key however many wait for it.

A waiter that goes away stops nothing; a job ends by its own time limit. A failure answers for a while without a new
attempt, for as long as its kind of fault says (`WaveletError.remembered`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import structlog

from wavelet.errors import Internal, WaitExpired, WaveletError
from wavelet.resolve.metrics import JOBS, WAITS

log = structlog.get_logger()
T = TypeVar("T")

HELD = 1200.0
"""Seconds for which a waiter is held at the most; then it is told to ask again."""

RETRY_AFTER = 5.0
"""Seconds after which such a waiter should ask again."""

REMEMBERED_FAILURES = 10_000
"""Most failures kept; the oldest go first."""


class Job(Generic[T]):
    """Running or finished work."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self._task = task

    @property
    def done(self) -> bool:
        """True when there is a result or an error."""
        return self._task.done()

    async def result(self, wait: float = HELD) -> T:
        """Return the result, or raise the error. `wait` bounds the waiting (seconds), not the job.

        Raises:
            WaitExpired: the wait ended first; the job goes on.
        """
        with WAITS.time():
            done, _ = await asyncio.wait({self._task}, timeout=wait)
        if not done:
            raise WaitExpired("this is still being worked on; ask again", retry_after=RETRY_AFTER)
        if self._task.cancelled():
            raise WaitExpired("wavelet is stopping; ask again", retry_after=RETRY_AFTER)
        return self._task.result()


class Jobs:
    """All jobs of a daemon."""

    def __init__(self) -> None:
        self._running: dict[Hashable, Job[Any]] = {}
        self._failed: dict[Hashable, tuple[WaveletError, float]] = {}

    def join(self, kind: str, key: Hashable, work: Callable[[], Awaitable[T]], limit: float) -> Job[T]:
        """Return the job of `kind` and `key`: the one that runs, or a new one of at most `limit` seconds.

        Raises:
            WaveletError: the job has failed, lately enough for that to stand.
        """
        key = (kind, key)
        running = self._running.get(key)
        if running is not None:
            JOBS.labels(kind, "joined").inc()
            return running
        failure = self._failed.get(key)
        if failure is not None:
            error, until = failure
            if time.monotonic() < until:
                JOBS.labels(kind, "remembered").inc()
                raise error.with_traceback(None)
            del self._failed[key]
        JOBS.labels(kind, "started").inc()
        job = Job(asyncio.create_task(self._run(key, work, limit), name=f"job {key}"))
        self._running[key] = job
        return job

    async def _run(self, key: Hashable, work: Callable[[], Awaitable[T]], limit: float) -> T:
        try:
            async with asyncio.timeout(limit):
                return await work()
        except TimeoutError:
            raise self._remember(key, WaitExpired(f"gave up after {limit:.0f} s", retry_after=5)) from None
        except WaveletError as error:
            raise self._remember(key, error) from None
        except Exception as error:
            number = secrets.token_hex(4)
            log.exception("a job failed by a defect", job=str(key), id=number)
            raise Internal(f"a defect in wavelet; its log has the details under {number}") from error
        finally:
            self._running.pop(key, None)
            task = asyncio.current_task()
            if task is not None:
                task.add_done_callback(_consume)

    def _remember(self, key: Hashable, error: WaveletError) -> WaveletError:
        if error.remembered:
            self._failed[key] = (error, time.monotonic() + error.remembered)
            if len(self._failed) > REMEMBERED_FAILURES:
                del self._failed[next(iter(self._failed))]
        return error

    async def close(self) -> None:
        """End all jobs."""
        tasks = [job._task for job in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _consume(task: asyncio.Task[Any]) -> None:
    # A failure that nobody waits for has been remembered; asyncio need not warn of it.
    if not task.cancelled():
        task.exception()
