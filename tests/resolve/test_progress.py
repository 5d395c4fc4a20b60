"""The states of a container request: an upstream's failures are waited out for a while, the caller's are not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from wavelet.errors import ImageNotFound, UpstreamUnreachable, WaveletError
from wavelet.pin.tags import Pinned
from wavelet.resolve import progress
from wavelet.resolve.job import Job
from wavelet.resolve.progress import AGAIN, PATIENCE, Failed, Pending, Progress, Ready


class Clock:
    """A clock that a test moves, and jobs that it ends; counts how many were begun."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.begun = 0
        self.done = True
        self.given_up = False
        self.error: WaveletError | None = None

    def monotonic(self) -> float:
        return self.now

    async def begin(self) -> Job[Pinned]:
        self.begun += 1
        return cast(Job[Pinned], self)

    async def result(self) -> Any:
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


async def test_pending_then_ready_for_good(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.done = False
    assert await attempts.state(clock.begin) == Pending()
    clock.now += 3
    assert attempts.seconds == 3
    clock.done = True
    assert await attempts.state(clock.begin) == Ready()
    clock.now += 100
    clock.error = ImageNotFound("gone")
    assert await attempts.state(clock.begin) == Ready()
    assert (attempts.seconds, clock.begun) == (3, 1)


async def test_an_upstream_is_tried_again_until_patience_ends(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.error = UpstreamUnreachable("no answer")
    assert await attempts.state(clock.begin) == Pending(clock.error)
    assert await attempts.state(clock.begin) == Pending(clock.error)
    assert clock.begun == 1  # looking at it twice within `AGAIN` asks nobody twice
    clock.now += AGAIN
    assert await attempts.state(clock.begin) == Pending(clock.error)
    assert clock.begun == 2
    clock.now += PATIENCE
    assert await attempts.state(clock.begin) == Failed(clock.error)
    attempts.submitted(None)
    assert await attempts.state(clock.begin) == Pending(clock.error)


async def test_the_callers_fault_is_no_matter_of_patience(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.error = ImageNotFound("no such image")
    assert await attempts.state(clock.begin) == Failed(clock.error)
    attempts.submitted(0.5)
    assert await attempts.state(clock.begin) == Ready()
    assert attempts.seconds == 0.5
    attempts.forget()
    assert await attempts.state(clock.begin) == Failed(clock.error)
