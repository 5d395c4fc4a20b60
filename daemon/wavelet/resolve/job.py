"""Jobs: work in single flight, with progress that can be watched and failures that are remembered.

A job that is *kept* belongs to nobody: a waiter that goes away stops nothing, and it ends by its own time limit. One
that nobody has asked to keep (see `asking`) ends when the last waiter is cancelled; a wait that is over ends nothing. A
job that asks for another one is a waiter like any other, and what it asks for is kept if it is kept itself.

A failure answers for a while without a new attempt, for as long as its kind of fault says: `WaveletError.negative_ttl`.
All jobs that fail because of it end with it at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from cachetools import TLRUCache

from wavelet.concurrency import Flight, Flights
from wavelet.defects import defect
from wavelet.errors import WaitExpired, WaveletError, bare_copy, fresh_copy
from wavelet.resolve.events import Account, Event, View
from wavelet.resolve.metrics import JOBS, WAITS

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

HELD = 1200.0
"""Seconds for which a waiter is held at the most; then it is told to ask again."""

RETRY_AFTER = 5.0
"""Seconds after which such a waiter should ask again."""

REMEMBERED_FAILURES = 10_000
"""Most failures kept; the oldest go first."""

LOOK = 0.1
"""Seconds between two looks of a watcher."""

_WORKING: ContextVar[Job[object] | None] = ContextVar("working", default=None)
"""The job that the running task belongs to."""

_KEEPING: ContextVar[bool] = ContextVar("keeping", default=True)


@contextlib.contextmanager
def asking(*, keep: bool) -> Iterator[None]:
    """Say whether what is asked for inside is kept. It changes nothing for what jobs ask for."""
    token = _KEEPING.set(keep)
    try:
        yield
    finally:
        _KEEPING.reset(token)


def account() -> Account:
    """Return the account of the job that runs, or one that nobody sees."""
    job = _WORKING.get()
    return Account() if job is None else job.account


def take_part(job: Job[object]) -> None:
    """Count `job` as a part of the job that this is called in, if it is called in one."""
    working = _WORKING.get()
    if working is not None:
        working.takes_part(job)


class Job(Flight[T_co]):
    """Running or finished work.

    Attributes:
        account: how far it is.
    """

    def __init__(self, work: Callable[[Job[T_co]], Awaitable[T_co]], name: str) -> None:
        super().__init__(lambda: work(self), name)
        self.account = Account()
        self._parts: list[Job[object]] = []

    def keep(self) -> None:
        """Go on whether or not anybody waits, with all that this work waits for."""
        if not self.kept:
            self.kept = True
            for part in self._parts:
                part.keep()

    def takes_part(self, part: Job[object]) -> None:
        """Wait for another job as a part of this one."""
        self._parts.append(part)
        self.account.join(part.account)
        if self.kept:
            part.keep()

    async def result(self, wait: float = HELD) -> T_co:
        """Return the result, or raise the error. `wait` bounds the waiting (seconds), not the job.

        Raises:
            WaitExpired: the wait ended first; the job goes on.
        """
        with WAITS.time():
            ended = await self.wait(wait)
        if not ended:
            raise WaitExpired("this is still being worked on; ask again", retry_after=RETRY_AFTER)
        return self.outcome()

    async def watch(self, changed: Callable[[], Iterable[T]] = tuple) -> AsyncGenerator[Event | T, None]:
        """Yield how the work goes, from its start to its end; whoever watches waits for it. Close it at the end.

        `changed` is asked at each look what else is to be told, before the events since the look before.

        Raises:
            WaveletError: the work has failed; all events come before that.
        """
        view = View(self.account)
        with self.waiting():
            while not self.done:
                for told in (*changed(), *view.news()):
                    yield told
                await self.wait(LOOK)
        if last := list(view.news()):
            for told in (*changed(), *last):
                yield told
        self.outcome()

    def when_ended(self, tell: Callable[[WaveletError | None], None]) -> None:
        """Have `tell` called once this has a result (with None) or has failed (with why), unless it was broken off."""

        def ended(task: asyncio.Task[T_co]) -> None:
            error = None if task.cancelled() else task.exception()
            if not task.cancelled() and (error is None or isinstance(error, WaveletError)):
                tell(error)

        self.task.add_done_callback(ended)

    def forget(self) -> None:
        """Let go of how it went: whoever watches has it, and what lives longer may keep a finished job."""
        self.account = Account()
        self._parts.clear()


class Jobs:
    """All jobs of a daemon."""

    def __init__(self) -> None:
        self._running: Flights[Hashable, Job[Any]] = Flights()
        self._failed: TLRUCache[Hashable, WaveletError] = TLRUCache(
            REMEMBERED_FAILURES, lambda _, error, __: error.cached_until, timer=_now
        )

    def join(self, kind: str, key: Hashable, work: Callable[[], Awaitable[T]], limit: float) -> Job[T]:
        """Return the job of `kind` and `key`: the one that runs, or a new one of at most `limit` seconds.

        Raises:
            WaveletError: the job has failed, lately enough for that to stand.
        """
        key = (kind, key)
        job: Job[T] | None = self._running.get(key)
        if job is not None:
            JOBS.labels(kind, "joined").inc()
        else:
            self._refuse(kind, key)
            JOBS.labels(kind, "started").inc()
            job = self._running.begin(key, Job(lambda job: self._run(key, job, work, limit), f"job {key}"))
        asking = _WORKING.get()
        if asking is not None:
            asking.takes_part(job)
        elif _KEEPING.get():
            job.keep()
        return job

    def forget(self, kind: str, key: Hashable) -> None:
        """Let the next one that asks for a job begin it, whatever it has failed with."""
        self._failed.pop((kind, key), None)

    def _refuse(self, kind: str, key: Hashable) -> None:
        error = self._failed.get(key)
        if error is not None:
            JOBS.labels(kind, "remembered").inc()
            raise fresh_copy(error)

    def __len__(self) -> int:
        """Return how many run now."""
        return len(self._running)

    async def _run(self, key: Hashable, job: Job[T], work: Callable[[], Awaitable[T]], limit: float) -> T:
        _WORKING.set(job)
        try:
            async with asyncio.timeout(limit):
                return await work()
        except TimeoutError:
            raise self._remember(key, WaitExpired(f"gave up after {limit:.0f} s", retry_after=5)) from None
        except WaveletError as error:
            raise self._remember(key, error) from None
        except Exception as error:
            raise defect("a job failed by a defect", job=str(key)) from error
        finally:
            job.forget()

    def _remember(self, key: Hashable, error: WaveletError) -> WaveletError:
        if error.negative_ttl:
            # Whoever has found out how long a failure stands has said so.
            if error.cached_until == 0.0:
                error.cached_until = _now() + error.negative_ttl
            # What is kept for a while does not keep what was at work when it happened.
            self._failed[key] = bare_copy(error)
        return error

    async def close(self) -> None:
        """End all jobs."""
        await self._running.close()


def _now() -> float:
    return time.monotonic()
