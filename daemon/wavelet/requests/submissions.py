"""The way of a request from the door to its name: rules, pin, name, and the start of what is left to do.

An answer waits for the pin only, and not long: what is undecided then goes on by itself, and the status tells the rest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable
from dataclasses import dataclass

from wavelet.errors import OurError, Stopping, UpstreamError, WaitExpired, WaveletError
from wavelet.kinds.kind import Pinned
from wavelet.plan.node import INLINE, layers
from wavelet.requests.binding import NAME_WAIT, Bindings
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.history import Decisions
from wavelet.requests.naming import RequestKeeper
from wavelet.requests.progress import Pending, Ready, State
from wavelet.requests.reach import noting_reach
from wavelet.requests.request import SOLVED_ANEW, SOLVING_ANEW, Request
from wavelet.requests.request_cache import CachedRequest, Status
from wavelet.resolve.job import Job, asking
from wavelet.resolve.resolver import Resolver


@dataclass(slots=True)
class _Attempt:
    """The work on one submission.

    Attributes:
        began: by the monotonic clock.
        is_solved: whether there is something in it that can be solved for anew.
        earlier: what that came to before it is solved for anew.
        pinned: what it is pinned to, once that is known.
        job: what is being done for it; `renewing` is the solve anew, which comes first.
        failed: what has gone wrong and may pass.
        ready: whether nothing is left to do.
    """

    request: Request
    began: float
    is_solved: bool
    earlier: list[Hashable]
    pinned: Pinned | None = None
    job: Job[Pinned] | None = None
    renewing: Job[Pinned] | None = None
    failed: WaveletError | None = None
    ready: bool = False

    @property
    def unsolved(self) -> bool:
        """Whether its packages are still being solved for anew."""
        return self.is_solved and self.renewing is not None and not self.renewing.done

    def left(self, wait: float) -> float:
        """Return how many of `wait` seconds are left."""
        return max(0.0, self.began + wait - time.monotonic())


class Submissions:
    """Takes requests in. `plans` are those that the site makes of what is asked for."""

    def __init__(
        self,
        plans: EffectivePlans,
        resolver: Resolver,
        keeper: RequestKeeper,
        bindings: Bindings,
        decisions: Decisions,
    ) -> None:
        self._plans = plans
        self._resolver = resolver
        self._keeper = keeper
        self._bindings = bindings
        self._decisions = decisions

    async def submit(self, request: Request) -> Status:
        """Name what is asked for, keep it, and start on it.

        Raises:
            CallerError: a definite no: no such image, refused, or layers that are not what the request says.
        """
        try:
            request = noting_reach(await self._plans.of(request))
            with contextlib.ExitStack() as waits:
                status = await self._submit(request, waits)
        except WaveletError as error:
            token = await self._keeper.token_if_refused(request)
            self._decisions.refused(error, request.about, request.identity, token, request.effective)
            raise
        self._decisions.accepted(request, status.request, ready=isinstance(status.state, Ready))
        return status

    async def _submit(self, request: Request, waits: contextlib.ExitStack) -> Status:
        plan, options = request.effective, request.options
        began = time.monotonic()
        earlier = self._resolver.solutions(plan) if options.refresh else []
        attempt = _Attempt(request, began, self._resolver.is_solved(plan), earlier)
        try:
            with contextlib.suppress(TimeoutError), asking(keep=options.keep):
                await self._work(attempt, waits)
        except (UpstreamError, OurError) as error:
            attempt.failed = None if isinstance(error, WaitExpired | Stopping) else error
        if attempt.pinned is None and not attempt.unsolved:
            attempt.pinned = self._resolver.fresh(plan, request.identity) or await self._bindings.pinned_soon(
                plan, request.identity, attempt.job, attempt.began
            )
        if attempt.pinned is not None:
            await self._plans.admit(plan, attempt.pinned.plan)
        return await self._kept(attempt)

    async def _work(self, attempt: _Attempt, waits: contextlib.ExitStack) -> None:
        """Pin what is asked for, and prepare it, as far as its answer waits for that; see `Submissions.submit`."""
        request, options = attempt.request, attempt.request.options
        plan, identity = request.effective, request.identity
        await self._keeper.take_inline(request)
        if options.refresh:
            renewing = await self._resolver.pin(plan, identity, refresh=True)
            attempt.renewing = waits.enter_context(renewing.waiting())
            await attempt.renewing.result(attempt.left(max(options.wait, NAME_WAIT)))
        # Nothing is made for a dry run; but its name depends on whether the layers are where it says.
        light = options.dry_run and all(layer.location == INLINE for layer in layers(plan))
        build = self._bindings.builds(plan)
        attempt.pinned = (
            self._resolver.fresh(plan, identity) if light else self._resolver.prepared(plan, identity, build=build)
        )
        if attempt.pinned is None:
            pin, prepare = self._resolver.pin, self._resolver.prepare
            begun = await (pin(plan, identity) if light else prepare(plan, identity, build=build))
            attempt.job = waits.enter_context(begun.waiting())
            attempt.pinned = await attempt.job.result(attempt.left(options.wait))
        attempt.ready = True

    async def _kept(self, attempt: _Attempt) -> Status:
        """Keep the request of an attempt under its name, and have what is left of its work go on."""
        request, options, pinned = attempt.request, attempt.request.options, attempt.pinned
        about, unsolved = request.about, attempt.unsolved
        if unsolved or (attempt.earlier and pinned and self._resolver.solutions(pinned.plan) != attempt.earlier):
            about = about.noting(SOLVING_ANEW if unsolved else SOLVED_ANEW)
        anew = options.refresh and attempt.is_solved
        cached = await self._keeper.keep(request, pinned, about, anew=anew)
        if not options.dry_run:
            self._bindings.doubt(cached.request)
        has_effects = not options.dry_run and not self._bindings.acted_upon(cached.request)
        if options.refresh or (has_effects and cached.progress.took is not None):
            cached.progress.forget()
        due = attempt.ready and has_effects
        done = attempt.ready and not options.dry_run and not due
        cached.progress.submitted(time.monotonic() - attempt.began if done else None, attempt.failed)
        job = attempt.renewing if unsolved else attempt.job
        with asking(keep=options.keep):
            known = None if attempt.failed else pinned
            await self._bindings.go_on(cached, job, known, dry_run=options.dry_run)
            if due:
                return cached.status(await self._acted_upon(attempt, cached))
        state: State = Ready() if attempt.ready else Pending()
        return cached.status(state if attempt.failed is None else cached.progress.failure(attempt.failed))

    async def _acted_upon(self, attempt: _Attempt, cached: CachedRequest) -> State:
        """Begin on the effects of a request, and return how far they are in the time that its answer waits.

        Raises:
            CallerError: a definite no.
        """
        await self._bindings.begin(cached)
        job = cached.progress.job
        if job is not None:
            with contextlib.suppress(UpstreamError, OurError):  # the status tells
                await job.result(attempt.left(attempt.request.options.wait))
                return Ready()  # where another one has asked meanwhile, the status is of what that has begun
        return cached.progress.seen
