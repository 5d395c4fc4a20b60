"""The steps of a container request (pin, make, after), each with its state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wavelet.errors import WaveletError

StepName = Literal["pin", "make", "after"]
StepState = Literal["pending", "running", "done", "failed"]

STEPS: tuple[StepName, ...] = ("pin", "make", "after")
"""All steps in their order. `after` is what acts on the world once the image can be made: see `effects`."""


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
