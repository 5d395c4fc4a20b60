"""The state of a container request and of its steps, and when what has failed is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from wavelet.errors import Fault, Stopping, WaveletError, fresh_copy
from wavelet.kinds.kind import Pinned
from wavelet.requests.history import Outcome, Why
from wavelet.requests.patience import AGAIN, Patience
from wavelet.resolve.events import Account, Event, View
from wavelet.resolve.job import Job

StepName = Literal["pin", "make", "after"]
StepState = Literal["pending", "running", "done", "failed"]

STEPS: tuple[StepName, ...] = ("pin", "make", "after")
"""All steps in their order. `after` is what acts on the world once the image can be made: see `effects`."""

LATER = 30.0
"""Seconds after a state is failed until a look at it is a reason to try again: it stays that unless it succeeds."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a request.

    Attributes:
        name: which one.
        state: how far it is.
        since: when it has begun, in unix seconds; None if it has not, or if that was before a restart.
        error: what has gone wrong in it last, though it may be tried again.
    """

    name: StepName
    state: StepState = "pending"
    since: float | None = None
    error: WaveletError | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Work that goes on: for how many seconds, and what it has done so far."""

    seconds: float
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """Where the work for a request is.

    Attributes:
        at: the step that it is in, or that it is to go on with.
        began: when each step has begun, in unix seconds.
    """

    at: StepName = "pin"
    began: tuple[tuple[StepName, float], ...] = ()

    def enter(self, name: StepName, now: float) -> Steps:
        """Return the same with the work in a step, which begins `now` unless it has begun."""
        return Steps(name, self.began if name in dict(self.began) else (*self.began, (name, now)))

    def each(self, state: StepState, error: WaveletError | None = None) -> tuple[Step, ...]:
        """Return all steps. `state` is that of the one that the work is in: `done` is the end of all of them."""
        here = len(STEPS) if state == "done" else STEPS.index(self.at)
        began = dict(self.began)
        return (
            *(Step(name, "done", began.get(name)) for name in STEPS[:here]),
            *(Step(name, state, began.get(name), error) for name in STEPS[here : here + 1]),
            *(Step(name) for name in STEPS[here + 1 :]),
        )


@dataclass(frozen=True, slots=True)
class Pending:
    """Undecided yet.

    Attributes:
        waiting_for: the last thing that went wrong, if something did.
        left: for how many seconds more it is tried again.
    """

    waiting_for: WaveletError | None = None
    left: float = field(default=0.0, compare=False)

    @property
    def again(self) -> str:
        """What is to be said after the reason: for how long more it is tried again; empty if nobody knows."""
        seconds = f"{self.left:.0f} s more (the daemon's setting upstream.patience)"
        return f"; it is tried again for {seconds}" if self.left > 0 else ""


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

    The last outcome stands until it is asked for again. Who looks at a failure that may pass begins another attempt,
    now and then, and is told that failure until the attempt has succeeded.

    Attributes:
        first_asked: when the attempt that counts began, by the monotonic clock.
        took: seconds until it was ready; None before that.
        job: what is being done.
        failed: why the last job has failed.
        again: when the next one may begin, by the monotonic clock.
        settled: takes note of each outcome.
        patience: for how long what may pass is tried again.
        place: where the work is among the steps of the request.
        account: what the job has done so far; that outlives the job.
        lost_after: seconds after `first_asked` at which it fails, or has failed, unless it succeeds; None: not known.
    """

    first_asked: float = field(default_factory=time.monotonic)
    took: float | None = None
    job: Job[Pinned] | None = None
    failed: WaveletError | None = None
    again: float = 0.0
    settled: Callable[[Outcome], None] = lambda _: None
    patience: Patience = field(default_factory=Patience)
    place: Steps = field(default_factory=Steps)
    account: Account | None = None
    lost_after: float | None = None

    @classmethod
    def restored(cls, outcome: Outcome | None, settled: Callable[[Outcome], None], patience: Patience) -> Progress:
        """Return what is known of a request from earlier, before a restart too; `settled` keeps it."""
        if outcome is None:
            return cls(settled=settled, patience=patience)
        age = time.time() - outcome.asked_at
        # A time in the future is one of a clock that was wrong.
        first_asked = time.monotonic() - (age if age >= 0 else patience.seconds)
        error = None if outcome.why is None else outcome.why.error
        place = Steps(next((name for name in STEPS if name == outcome.step), STEPS[0]))
        return cls(
            first_asked,
            outcome.took,
            failed=error,
            settled=settled,
            patience=patience,
            place=place,
            lost_after=outcome.lost_after,
        )

    @property
    def seconds(self) -> float:
        """For how many seconds it has been worked on: until it was ready, or had failed."""
        if self.took is not None:
            return self.took
        age = time.monotonic() - self.first_asked
        return age if self.lost_after is None else min(age, self.lost_after)

    @property
    def _asked_at(self) -> float:
        """When the attempt that counts began, in unix seconds."""
        return time.time() - (time.monotonic() - self.first_asked)

    @property
    def is_unknown(self) -> bool:
        """True when nothing was done for it here, as far as is known."""
        return self.took is None and self.job is None and self.failed is None

    @property
    def running(self) -> Running | None:
        """What is being done for it now, where something is."""
        job = self.job
        return None if job is None or job.done else Running(self.seconds, tuple(View(job.account).news()))

    @property
    def seen(self) -> State:
        """The state as far as is known, for those who only look: nothing is begun."""
        if self.took is not None:
            return Ready()
        return Pending() if self.failed is None else self.failure(self.failed)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps as far as is known, for those who only look."""
        place = self._place()
        match self.seen:
            case Ready():
                return place.each("done")
            case Failed(error):
                return place.each("failed", error)
        running = self.job is not None and not self.job.done
        return place.each("running" if running else "pending", self.failed)

    def _place(self) -> Steps:
        """Return where the work is; what the work itself says of that counts too."""
        making = None if self.account is None or self.place.at != "pin" else self.account.began("making")
        return self.place if making is None else self.place.enter("make", time.time() - (time.monotonic() - making))

    def enter(self, step: StepName) -> None:
        """Note that the work has come to a step."""
        self.place = self.place.enter(step, time.time())

    def forget(self) -> None:
        """Count nothing that was done before."""
        self.took = self.job = self.failed = self.lost_after = None
        self.place = Steps()

    def submitted(self, took: float | None, error: WaveletError | None = None) -> None:
        """Note that it was asked for: how many seconds it took if it is ready, or what has gone wrong at first."""
        if self.took is None:
            # A new request is a new attempt, with new patience.
            self.first_asked, self.failed, self.took = time.monotonic(), error, took
            self.lost_after = None if error is None else self.patience.left(error, self.first_asked)
            if self.job is None or self.job.done:
                self.place = Steps()
            self.again = self.first_asked + AGAIN
            self._keep()

    def pulled(self) -> None:
        """Note that its image can be pulled, or was: then it is ready, whatever went wrong before."""
        if self.took is None:
            self._ready()

    def attach(self, job: Job[Pinned]) -> None:
        """Have a job do the work; its end is noted, whether or not anybody looks."""

        def ended(error: WaveletError | None) -> None:
            if self.job is not job or isinstance(error, Stopping):
                return
            if error is None:
                self._ready()
            else:
                self._fail(error)

        self.job, self.account = job, job.account
        if self.place.at == "pin":
            # Which is the first step: it has begun with the first of the attempts, whichever this is.
            self.place = self.place.enter("pin", self._asked_at)
        job.when_ended(ended)

    async def state(self, begin: Callable[[], Awaitable[Job[Pinned]]]) -> State:
        """Return the state; `begin` starts or joins the work, where that is due."""
        if self.took is not None:
            return Ready()
        if self.failed is not None and not self._due(self.failed):
            return self.failure(self.failed)
        try:
            if self.job is None or self.job.given_up:
                self.attach(await begin())
            assert self.job is not None
            if not self.job.done:
                return Pending() if self.failed is None else self.failure(self.failed)
            await self.job.result()
        except Stopping as error:
            return Pending(error)
        except WaveletError as error:
            self._fail(error)
            return self.failure(error)
        self._ready()
        return Ready()

    async def watch(self, begin: Callable[[], Awaitable[Job[Pinned]]]) -> AsyncGenerator[Event | Step, None]:
        """Yield how the work goes, from its start until it is ready; `begin` starts or joins it. Close it at the end.

        A step is told of when its state has changed, before what else has happened since.

        What is tried again after a failure of somebody else's is told of anew.

        Raises:
            WaveletError: there will be no image, for this reason.
        """
        told: tuple[Step, ...] = ()

        def changed() -> list[Step]:
            nonlocal told
            told, before = self.steps, told
            return [step for step in told if step not in before]

        while not isinstance(state := await self.state(begin), Ready):
            if isinstance(state, Failed):
                raise fresh_copy(state.error)
            if self.job is None:
                await asyncio.sleep(AGAIN)
                continue
            with contextlib.suppress(WaveletError):  # the state tells what it means
                async with contextlib.aclosing(self.job.watch(changed)) as events:
                    async for event in events:
                        yield event
        if told:
            # The work has ended after the last look: how its steps have ended is told too.
            for step in changed():
                yield step

    def _due(self, error: WaveletError) -> bool:
        """Tell whether a look is a reason for another attempt: a definite no stands until it is asked for again."""
        return error.fault is not Fault.CALLER and time.monotonic() >= self.again

    def _ready(self) -> None:
        self.place, self.account = self._place(), None
        self.job, self.failed, self.took = None, None, time.monotonic() - self.first_asked
        self._keep()

    def _fail(self, error: WaveletError) -> None:
        self.place, self.account = self._place(), None
        left = self.patience.left(error, self.first_asked)
        age = time.monotonic() - self.first_asked
        if self.lost_after is None or age < self.lost_after:
            self.lost_after = age + left
        if left > 0 and (self.failed is None or self.failed.message != error.message):
            log.info("a request is tried again", because=error.message, seconds=round(left, 1))
        self.job, self.failed = None, error
        self.again = time.monotonic() + (AGAIN if left > 0 else LATER)
        self._keep()

    def _keep(self) -> None:
        why = None if self.failed is None else Why.of(self.failed)
        step = "" if why is None or self.place.at == STEPS[0] else self.place.at
        self.settled(Outcome(self._asked_at, self.took, why, step, self.lost_after))

    def failure(self, error: WaveletError) -> Pending | Failed:
        """Return the state that an attempt leaves which has failed: a definite no is one at once."""
        left = self.patience.left(error, self.first_asked)
        return Pending(error, left) if left > 0 else Failed(error)
