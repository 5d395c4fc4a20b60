"""Concurrency of coroutines: several things waited for at once, and equal work done once for all who wait.

A run belongs to those who wait for it. One of them that is cancelled ends nothing, unless it was the last one: then the
run is given up, and whoever asks next begins another. A run that is *kept* goes on whether or not anybody waits; that
is right for what a thread does, which cannot be ended, and for what is wanted anyway. Nothing is held of a run that has
ended, so that what is held is bounded by what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from functools import partial
from typing import Generic, Self, TypeVar

from wavelet.errors import CallerError, Stopping, WaitExpired, fresh_copy

T = TypeVar("T")

NO_WAIT = 2.0
"""Seconds that a failure which may pass gives the others, for one of them may know a definite no."""


async def gather_all(coroutines: Iterable[Coroutine[object, None, T]]) -> list[T]:
    """Return the results in the order of what was given; when one fails, the others are cancelled.

    Raises:
        CallerError: the first definite no, at once.
        Exception: else the first failure in the order of what was given, `NO_WAIT` after the first one at the latest.
    """
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        await _settled(tasks)
    finally:
        for task in tasks:
            task.cancel()
        # What is cancelled is waited for: nothing goes on behind the caller's back.
        await asyncio.gather(*tasks, return_exceptions=True)
    failures = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    for error in sorted(failures, key=lambda each: not isinstance(each, CallerError)):
        raise error
    return [task.result() for task in tasks]


async def _settled(tasks: list[asyncio.Task[T]]) -> None:
    """Wait until all have ended, or a failure stands."""
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()
    left = len(tasks)

    def ended(task: asyncio.Task[T]) -> None:
        nonlocal left
        left -= 1
        error = None if task.cancelled() else task.exception()
        if not left or isinstance(error, CallerError):
            settled.set()
        elif error is not None:
            loop.call_later(NO_WAIT, settled.set)

    for task in tasks:
        task.add_done_callback(ended)
    if tasks:
        await settled.wait()


T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound=Hashable)
F = TypeVar("F", bound="Flight[object]")


class Flight(Generic[T_co]):
    """One run, and how many wait for it.

    Attributes:
        kept: whether it goes on when nobody waits any more.
        given_up: whether it was ended for nobody waited any more; asking again is a new attempt.
        task: the run, once it has begun.
    """

    def __init__(self, work: Callable[[], Awaitable[T_co]], name: str, *, kept: bool = False) -> None:
        """`work` is called in a task of its own, which is called `name`."""
        self.kept = kept
        self.given_up = False
        self._name = name
        self._work = work
        self._waiters = 0
        self._leave: Callable[[Flight[object]], None]
        self.task: asyncio.Task[T_co]

    def begin(self, leave: Callable[[Flight[object]], None]) -> asyncio.Task[T_co]:
        """Run the work; `leave` is called with this once nobody may join any more."""
        self._leave = leave
        self.task = asyncio.create_task(_run(self._work), name=self._name)
        del self._work  # whoever keeps what has ended keeps nothing that it was done with
        self.task.add_done_callback(self._ended)
        return self.task

    @property
    def done(self) -> bool:
        """True when there is a result or an error."""
        return self.task.done()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Self]:
        """Count as one who waits: if that is cancelled inside, and nobody else waits or keeps this, it ends."""
        self._waiters += 1
        try:
            yield self
        except (asyncio.CancelledError, GeneratorExit):
            if self._waiters == 1 and not self.kept and not self.done:
                self.given_up = True
                self._leave(self)
                self.task.cancel()
            raise
        finally:
            self._waiters -= 1

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, for at most `timeout` seconds; tell whether it was reached."""
        with self.waiting():
            done, _ = await asyncio.wait({self.task}, timeout=timeout)
        return bool(done)

    def outcome(self) -> T_co:
        """Return the result of a run that has ended, or raise its error: to each one a copy of its own.

        Raises:
            WaitExpired: it was given up.
            Stopping: it was ended with everything else.
        """
        if self.given_up:
            raise WaitExpired("the work was given up, as nobody waited for it; ask again", retry_after=0.0)
        if self.task.cancelled():
            raise Stopping
        error = self.task.exception()
        if error is not None:
            raise fresh_copy(error)
        return self.task.result()

    def _ended(self, task: asyncio.Task[T_co]) -> None:
        self._leave(self)
        # Whoever waits hears of a failure; where nobody does, asyncio need not warn of it.
        if not task.cancelled():
            task.exception()


class Flights(Generic[K, F]):
    """What runs, by key."""

    def __init__(self) -> None:
        self._running: dict[K, F] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        """Return how many run now."""
        return len(self._running)

    def get(self, key: K) -> F | None:
        """Return the run of a key, if there is one that has not ended."""
        flight = self._running.get(key)
        return None if flight is None or flight.done else flight

    def begin(self, key: K, flight: F) -> F:
        """Run a flight of which there is none yet."""
        self._running[key] = flight
        task = flight.begin(partial(self._leave, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _leave(self, key: K, flight: Flight[object]) -> None:
        # One that was given up may still be tidying up when the next attempt has taken its place.
        if self._running.get(key) is flight:
            del self._running[key]

    async def close(self) -> None:
        """End all that runs, and wait for it; whoever waits for one of them hears `Stopping`."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SingleFlight(Generic[K, T]):
    """Work of one sort; with `keep`, it goes on whether or not anybody waits for it."""

    def __init__(self, name: str, *, keep: bool = False) -> None:
        """`name` is what tasks are called by, before their keys."""
        self._name = name
        self._keep = keep
        self._flights: Flights[K, Flight[T]] = Flights()

    def __len__(self) -> int:
        """Return how many run now."""
        return len(self._flights)

    async def run(self, key: K, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, or what the run of the same key does that has begun already.

        Raises:
            Exception: what the work has raised, as a copy for this one who waits.
            Stopping: `close` was called.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights.begin(key, Flight(work, f"{self._name} {key}", kept=self._keep))
        await flight.wait()
        return flight.outcome()

    async def close(self) -> None:
        """End all that runs."""
        await self._flights.close()


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
