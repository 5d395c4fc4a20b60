"""Work that is shared: one job per key however many wait for it.

A job that is *kept* belongs to nobody: a waiter that goes away stops nothing, and it ends by its own time limit. One
that nobody has asked to keep (see `asking`) ends when the last waiter is cancelled; a wait that is over ends nothing. A
job that asks for another one is a waiter like any other, and what it asks for is kept if it is kept itself.

A failure answers for a while without a new attempt, for as long as its kind of fault says (`WaveletError.remembered`);
all jobs that fail because of it end with it at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any, Generic, Self, TypeVar

import structlog

from wavelet.defects import defect
from wavelet.errors import Stopping, WaitExpired, WaveletError
from wavelet.resolve.events import Account, Event, View
from wavelet.resolve.metrics import JOBS, WAITS

log = structlog.get_logger()
T = TypeVar("T")

HELD = 1200.0
"""Seconds for which a waiter is held at the most; then it is told to ask again."""

RETRY_AFTER = 5.0
"""Seconds after which such a waiter should ask again."""

REMEMBERED_FAILURES = 10_000
"""Most failures kept; the oldest go first."""

LOOK = 0.1
"""Seconds between two looks of a watcher."""

_WORKING: ContextVar[Job[Any] | None] = ContextVar("working", default=None)
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


def take_part(job: Job[Any]) -> None:
    """Count `job` as a part of the job that this is called in, if it is called in one."""
    working = _WORKING.get()
    if working is not None:
        working.takes_part(job)


class Job(Generic[T]):
    """Running or finished work.

    Attributes:
        account: how far it is.
        kept: whether it goes on when nobody waits any more.
        given_up: whether it was ended for nobody waited any more; asking again is a new attempt.
    """

    def __init__(self, give_up: Callable[[Job[T]], None]) -> None:
        self.account = Account()
        self.kept = self.given_up = False
        self._give_up = give_up
        self._waiters = 0
        self._parts: list[Job[Any]] = []
        self._task: asyncio.Task[T]

    def begin(self, task: asyncio.Task[T]) -> None:
        """Have `task` do the work."""
        self._task = task
        task.add_done_callback(_consume)

    @property
    def done(self) -> bool:
        """True when there is a result or an error."""
        return self._task.done()

    def keep(self) -> None:
        """Go on whether or not anybody waits, with all that this work waits for."""
        if not self.kept:
            self.kept = True
            for part in self._parts:
                part.keep()

    def takes_part(self, part: Job[Any]) -> None:
        """Wait for another job as a part of this one."""
        self._parts.append(part)
        self.account.join(part.account)
        if self.kept:
            part.keep()

    async def result(self, wait: float = HELD) -> T:
        """Return the result, or raise the error. `wait` bounds the waiting (seconds), not the job.

        Raises:
            WaitExpired: the wait ended first; the job goes on.
        """
        with WAITS.time(), self.waiting():
            done, _ = await asyncio.wait({self._task}, timeout=wait)
        if not done:
            raise WaitExpired("this is still being worked on; ask again", retry_after=RETRY_AFTER)
        return self._outcome()

    async def watch(self) -> AsyncGenerator[Event, None]:
        """Yield how the work goes, from its start to its end; whoever watches waits for it. Close it at the end.

        Raises:
            WaveletError: the work has failed; all events come before that.
        """
        view = View(self.account)
        with self.waiting():
            while not self.done:
                for event in view.news():
                    yield event
                await asyncio.wait({self._task}, timeout=LOOK)
        for event in view.news():
            yield event
        self._outcome()

    def when_ended(self, tell: Callable[[WaveletError | None], None]) -> None:
        """Have `tell` called once this has a result (with None) or has failed (with why), unless it was broken off."""

        def ended(task: asyncio.Task[T]) -> None:
            error = None if task.cancelled() else task.exception()
            if not task.cancelled() and (error is None or isinstance(error, WaveletError)):
                tell(error)

        self._task.add_done_callback(ended)

    def forget(self) -> None:
        """Let go of how it went: whoever watches has it, and what lives longer may keep a finished job."""
        self.account = Account()
        self._parts.clear()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Self]:
        """Count as one who waits: if that is cancelled inside, and nobody else waits or keeps this, it ends."""
        self._waiters += 1
        try:
            yield self
        except (asyncio.CancelledError, GeneratorExit):
            if self._waiters == 1 and not self.kept and not self.done:
                self.given_up = True
                self._give_up(self)
                self._task.cancel()
            raise
        finally:
            self._waiters -= 1

    def _outcome(self) -> T:
        if self.given_up:
            raise WaitExpired("the work was given up, as nobody waited for it; ask again", retry_after=0.0)
        if self._task.cancelled():
            raise Stopping
        return self._task.result()


class Jobs:
    """All jobs of a daemon."""

    def __init__(self) -> None:
        self._running: dict[Hashable, Job[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: dict[Hashable, WaveletError] = {}

    def join(self, kind: str, key: Hashable, work: Callable[[], Awaitable[T]], limit: float) -> Job[T]:
        """Return the job of `kind` and `key`: the one that runs, or a new one of at most `limit` seconds.

        Raises:
            WaveletError: the job has failed, lately enough for that to stand.
        """
        key = (kind, key)
        job = self._running.get(key)
        if job is not None:
            JOBS.labels(kind, "joined").inc()
        else:
            self._refuse(kind, key)
            JOBS.labels(kind, "started").inc()
            job = self._start(key, work, limit)
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
            if time.monotonic() < error.stands_until:
                JOBS.labels(kind, "remembered").inc()
                raise error.with_traceback(None)
            del self._failed[key]

    def _start(self, key: Hashable, work: Callable[[], Awaitable[T]], limit: float) -> Job[T]:
        job: Job[T] = Job(lambda job: self._leave(key, job))
        task = asyncio.create_task(self._run(key, job, work, limit), name=f"job {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        job.begin(task)
        self._running[key] = job
        return job

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
            self._leave(key, job)
            job.forget()

    def _leave(self, key: Hashable, job: Job[Any]) -> None:
        # A job that was given up may still be tidying up when the next attempt has taken its place.
        if self._running.get(key) is job:
            del self._running[key]

    def _remember(self, key: Hashable, error: WaveletError) -> WaveletError:
        if error.remembered:
            now = time.monotonic()
            # Whoever has found out how long a failure stands has said so.
            if error.stands_until == 0.0:
                error.stands_until = now + error.remembered
            self._failed[key] = error
            if len(self._failed) > REMEMBERED_FAILURES:
                del self._failed[next(iter(self._failed))]
        return error

    async def close(self) -> None:
        """End all jobs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _consume(task: asyncio.Task[Any]) -> None:
    # A failure that nobody waits for has been remembered; asyncio need not warn of it.
    if not task.cancelled():
        task.exception()
