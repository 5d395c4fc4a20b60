"""How far a container request is: pending, ready or failed, and when what has failed is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from wavelet.errors import Fault, WaveletError
from wavelet.pin.tags import Pinned
from wavelet.resolve.events import Event
from wavelet.resolve.job import Job

PATIENCE = 30.0
"""Seconds for which an upstream that does not answer leaves a request pending, before the status calls it failed."""

AGAIN = 1.0
"""Seconds after a failure until somebody who looks at the state makes it be tried again."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Undecided yet; `waiting_for` is the last thing that went wrong, if something did."""

    waiting_for: WaveletError | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """Pinned, and the layers that it names are verified."""


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no image, for this reason."""

    error: WaveletError


State = Pending | Ready | Failed


@dataclass(slots=True)
class Progress:
    """The attempts at one request on this node.

    Attributes:
        first_asked: when the attempt that counts began, by the monotonic clock.
        took: seconds until it was ready; None before that.
        job: what is being done.
        failed: why the last job has failed.
        again: when the next one may begin, by the monotonic clock.
    """

    first_asked: float = field(default_factory=time.monotonic)
    took: float | None = None
    job: Job[Pinned] | None = None
    failed: WaveletError | None = None
    again: float = 0.0

    @property
    def seconds(self) -> float:
        """For how many seconds it has been worked on."""
        return self.took or time.monotonic() - self.first_asked

    def forget(self) -> None:
        """Count nothing that was done before."""
        self.took = self.job = self.failed = None

    def submitted(self, took: float | None) -> None:
        """Note that it was asked for, and how many seconds it took if it is ready."""
        if self.took is None:
            # A new request is a new attempt, with new patience.
            self.first_asked, self.failed, self.took = time.monotonic(), None, took

    async def state(self, begin: Callable[[], Awaitable[Job[Pinned]]]) -> State:
        """Return the state; `begin` starts or joins the work, where that is due."""
        if self.took is not None:
            return Ready()
        if self.failed is not None and time.monotonic() < self.again:
            return self._failure(self.failed)
        try:
            if self.job is None or self.job.given_up:
                self.job = await begin()
            if not self.job.done:
                return Pending()
            await self.job.result()
        except WaveletError as error:
            self.job, self.failed, self.again = None, error, time.monotonic() + AGAIN
            return self._failure(error)
        self.job, self.took = None, time.monotonic() - self.first_asked
        return Ready()

    async def watch(self, begin: Callable[[], Awaitable[Job[Pinned]]]) -> AsyncGenerator[Event, None]:
        """Yield how the work goes, from its start until it is ready; `begin` starts or joins it. Close it at the end.

        What is tried again after a failure of somebody else's is told of anew.

        Raises:
            WaveletError: there will be no image, for this reason.
        """
        while not isinstance(state := await self.state(begin), Ready):
            if isinstance(state, Failed):
                raise state.error
            if self.job is None:
                await asyncio.sleep(AGAIN)
                continue
            with contextlib.suppress(WaveletError):  # the state tells what it means
                async with contextlib.aclosing(self.job.watch()) as events:
                    async for event in events:
                        yield event

    def _failure(self, error: WaveletError) -> Pending | Failed:
        patient = error.fault is not Fault.CALLER and time.monotonic() - self.first_asked < PATIENCE
        return Pending(error) if patient else Failed(error)
