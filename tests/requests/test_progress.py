"""The states of a container request: an upstream's failures are waited out for a while, the caller's are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from wavelet.errors import (
    ImageNotFound,
    Internal,
    Stopping,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.front.grpc import answers as wire
from wavelet.front.wave import answers
from wavelet.kinds.kind import Pinned
from wavelet.requests import patience, progress
from wavelet.requests.history import Outcome, Why
from wavelet.requests.patience import AGAIN, Patience
from wavelet.requests.progress import LATER, Failed, Pending, Progress, Ready
from wavelet.resolve.events import Account
from wavelet.resolve.job import Job


class Clock:
    """A clock that a test moves, and jobs that it ends; counts how many were begun."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.begun = 0
        self.done = True
        self.given_up = False
        self.error: WaveletError | None = None
        self.account = Account()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def when_ended(self, tell: Callable[[WaveletError | None], None]) -> None:
        self.end = tell

    async def begin(self) -> Job[Pinned]:
        self.begun += 1
        return cast(Job[Pinned], self)

    async def result(self) -> Any:
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, patience):
        monkeypatch.setattr(module, "time", clock)
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
    clock.now += Patience().seconds
    assert await attempts.state(clock.begin) == Failed(clock.error)
    attempts.submitted(None)
    assert await attempts.state(clock.begin) == Pending(clock.error)


@pytest.mark.parametrize(
    "error", [UpstreamBroken("wrong digest"), UpstreamBusy("429", retry_after=31.0), Internal("a defect")]
)
async def test_a_definite_no_of_an_upstream_is_a_failure_at_once(clock: Clock, error: WaveletError) -> None:
    """Fault A4: what waiting does not mend is not waited for; nor who says to come back later than is waited."""
    attempts = Progress(clock.now)
    clock.error = error
    assert await attempts.state(clock.begin) == Failed(error)
    refused = UpstreamUnreachable("connection refused")
    refused.passing = False
    attempts.submitted(None)
    clock.error = refused
    assert await attempts.state(clock.begin) == Failed(refused)


async def test_the_bound_is_a_setting_and_is_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault A4: for how long more it is tried again stands in the state, in its words and in the log."""
    bound = Patience(5.0)
    attempts = Progress(clock.now, patience=bound)
    clock.error = UpstreamBusy("quay.io answers 503, not now")
    state = await attempts.state(clock.begin)
    assert isinstance(state, Pending)
    assert state.left == 5.0
    assert answers.reason(state) == (
        "quay.io answers 503, not now; it is tried again for 5 s more (the daemon's setting upstream.patience)"
    )
    assert wire._reason(state) == answers.reason(state)
    assert "a request is tried again" in capsys.readouterr().out
    clock.now += 5
    assert await attempts.state(clock.begin) == Failed(clock.error)
    bound.seconds = 0.0
    attempts.submitted(None)
    assert await attempts.state(clock.begin) == Failed(clock.error)


async def test_who_waits_without_a_status_is_served_by_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault A4: a pull of a name that is not decided yet, as Nextflow up to 23.10 has it."""
    monkeypatch.setattr(patience, "AGAIN", 0.01)
    raised: list[WaveletError] = [UpstreamBusy("503"), UpstreamUnreachable("reset"), UpstreamBroken("wrong digest")]

    async def question() -> str:
        if raised:
            raise raised.pop(0)
        return "answer"

    with pytest.raises(UpstreamBroken):
        await Patience(5.0).ask(question)
    assert await Patience(5.0).ask(question) == "answer"
    raised = [UpstreamBusy("503")] * 1000
    with pytest.raises(UpstreamBusy):
        await Patience(0.05).ask(question)
    assert 900 < len(raised) < 1000


async def test_a_failure_stands_until_an_attempt_succeeds(clock: Clock) -> None:
    """Fault A3: the last outcome and its reason stand, whoever looks how often."""
    attempts = Progress(clock.now)
    clock.error = away = UpstreamUnreachable("no answer")
    clock.now += Patience().seconds
    for _ in range(100):
        assert await attempts.state(clock.begin) == Failed(away)
        clock.now += AGAIN
    assert clock.begun <= 1 + 100 * AGAIN / LATER  # now and then it is tried again, unseen
    clock.done = False
    clock.now += LATER
    assert await attempts.state(clock.begin) == Failed(away)
    clock.done, clock.error = True, None
    assert await attempts.state(clock.begin) == Ready()


async def test_a_definite_no_is_asked_for_again_by_a_request_alone(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.error = no = ImageNotFound("no such image")
    assert await attempts.state(clock.begin) == Failed(no)
    clock.now += 7 * 86400
    assert await attempts.state(clock.begin) == Failed(no)
    assert clock.begun == 1
    clock.error = None
    attempts.submitted(None)
    assert await attempts.state(clock.begin) == Ready()


async def test_the_end_of_work_is_noted_though_nobody_looks(clock: Clock) -> None:
    kept: list[Outcome] = []
    attempts = Progress(clock.now, settled=kept.append)
    attempts.attach(await clock.begin())
    clock.end(ImageNotFound("no such image"))
    assert kept[-1].why == Why("ImageNotFound", "no such image")
    attempts.submitted(None)
    attempts.attach(await clock.begin())
    clock.end(Stopping())  # that says nothing of the request
    assert kept[-1].why is None
    clock.end(None)
    assert kept[-1].took == 0.0


async def test_an_outcome_is_the_same_after_a_restart(clock: Clock) -> None:
    kept: list[Outcome] = []
    attempts = Progress(clock.now, settled=kept.append)
    clock.error = ImageNotFound("no such image", field="containerImage")
    await attempts.state(clock.begin)
    clock.begun = 0
    again = Progress.restored(kept[-1], kept.append, Patience())
    state = await again.state(clock.begin)
    assert isinstance(state, Failed)
    assert isinstance(state.error, ImageNotFound)
    assert (state.error.message, state.error.field, clock.begun) == ("no such image", "containerImage", 0)
    ready = Progress.restored(Outcome(clock.time(), took=2.5), kept.append, Patience())
    assert (await ready.state(clock.begin), ready.seconds, clock.begun) == (Ready(), 2.5, 0)


async def test_what_failed_long_ago_or_by_a_wrong_clock_is_no_longer_waited_for(clock: Clock) -> None:
    why = Why("UpstreamUnreachable", "no answer", passing=True)
    clock.done = False
    for at in (clock.time() - Patience().seconds, clock.time() + 400 * 86400):
        state = await Progress.restored(Outcome(at, why=why), lambda _: None, Patience()).state(clock.begin)
        assert isinstance(state, Failed)
    state = await Progress.restored(Outcome(clock.time() - 1, why=why), lambda _: None, Patience()).state(clock.begin)
    assert isinstance(state, Pending)


async def test_the_callers_fault_is_no_matter_of_patience(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.error = ImageNotFound("no such image")
    assert await attempts.state(clock.begin) == Failed(clock.error)
    attempts.submitted(0.5)
    assert await attempts.state(clock.begin) == Ready()
    assert attempts.seconds == 0.5
    attempts.forget()
    assert await attempts.state(clock.begin) == Failed(clock.error)


async def test_looks_at_a_failed_request_move_neither_its_times_nor_how_long_it_took(clock: Clock) -> None:
    """Each look that was due began another attempt, with another time; the duration grew with the clock."""
    kept: list[Outcome] = []
    attempts = Progress(clock.now, settled=kept.append)
    asked = clock.time()
    attempts.submitted(None, UpstreamUnreachable("no answer"))
    clock.error = UpstreamUnreachable("no answer")
    for _ in range(5):
        clock.now += LATER + Patience().seconds
        assert await attempts.state(clock.begin) == Failed(clock.error)
        [pin, *_] = attempts.steps
        assert (pin.state, pin.since, attempts.seconds) == ("failed", asked, Patience().seconds)
    again = Progress.restored(kept[-1], kept.append, Patience())
    clock.now += LATER
    assert await again.state(clock.begin) == Failed(clock.error)
    assert (again.steps[0].since, again.seconds) == (asked, Patience().seconds)


async def test_a_definite_no_took_as_long_as_until_it_was_said(clock: Clock) -> None:
    attempts = Progress(clock.now)
    clock.done = False
    assert await attempts.state(clock.begin) == Pending()
    clock.now += 7
    clock.end(ImageNotFound("no such image"))
    clock.now += 100
    assert attempts.seconds == 7
    attempts.submitted(0.0)
    clock.now += 5
    assert attempts.seconds == 0.0
