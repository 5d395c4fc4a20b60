"""The binding of names to what they answer, once and for all nodes, and the effects that come after making.

Nothing is answered under a name before that is written where all nodes read it. What it is bound to can be pulled and
made again for as long as its record is there, whatever the tags and channels have become by then.

Pushing and mirroring are effects. A request is ready when all of its effects are done; equal requests
of one moment share them. Who asks again has them run again, as they are after a restart: an image may have been deleted
where it was pushed to, or its tag been given to another one. So an effect is something that may be done once more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from cachetools import LRUCache

from wavelet.cluster.records import Record, Records
from wavelet.errors import (
    AccessRefused,
    DirectoryUnavailable,
    ImageNotFound,
    NoSpace,
    OurError,
    UpstreamError,
    WaveletError,
)
from wavelet.image.image import Image
from wavelet.kinds.kind import Pinned
from wavelet.plan.canonical import Pin, canonical, maker_of
from wavelet.plan.node import Node, parts
from wavelet.plan.tokens import ANONYMOUS, Identity
from wavelet.requests.request import ContainerRequest, answer_name
from wavelet.requests.request_cache import CachedRequest
from wavelet.requests.served import ServedImages
from wavelet.resolve.job import HELD, Job, Jobs, asking, take_part
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.steps import MAKE_LIMIT

REMEMBERED = 100_000
"""Effects that are known to be done; what is forgotten is done once more when it is asked for again."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do.

    Attributes:
        key: tells it apart from others.
        concerns: tells whether there is anything to do for a plan, as it was asked.
        run: does it, for a request, its plan of which nothing moves, and whom it is for; raises a WaveletError if that
            fails.
        makes: whether it sees itself to what it needs being made, where that is not there already.
    """

    key: str
    concerns: Callable[[Node], bool]
    run: Callable[[ContainerRequest, Node, Identity], Awaitable[None]]
    makes: bool = False


class Effects:
    """Does what is to be done, in its order."""

    def __init__(self, effects: Sequence[Effect] = ()) -> None:
        self._effects = effects
        self._jobs = Jobs()
        self._done: LRUCache[tuple[str, str], None] = LRUCache(REMEMBERED)

    async def close(self) -> None:
        """End what goes on."""
        await self._jobs.close()

    def done(self, request: ContainerRequest) -> bool:
        """Tell whether nothing is left to do for a request."""
        return all((each.key, request.token) in self._done for each in self._effects if each.concerns(request.plan))

    def make(self, plan: Node) -> bool:
        """Tell whether one of them sees to a plan being made, so that nothing has to be made before."""
        return any(each.makes and each.concerns(plan) for each in self._effects)

    def doubt(self, request: ContainerRequest) -> None:
        """Have all be done again for a request: what was done may have been undone since, by whoever may do that."""
        for each in self._effects:
            self._done.pop((each.key, request.token), None)

    async def run(self, request: ContainerRequest, fixed: Node, identity: Identity, logins: str) -> None:
        """Do what is left to do for a request.

        Args:
            request: the request.
            fixed: its plan of which nothing moves.
            identity: whom it is for.
            logins: the version of its logins: a refusal stands until there is a new one.

        Raises:
            WaveletError: one has failed; those behind it were not begun.
        """
        for effect in self._effects:
            key = (effect.key, request.token)
            if effect.concerns(request.plan) and key not in self._done:
                work = partial(effect.run, request, fixed, identity)
                job = self._jobs.join("after", (*key, logins), work, MAKE_LIMIT)
                await job.result(MAKE_LIMIT)
                self._done[key] = None


NAME_WAIT = 1.0
"""Seconds that who does not wait for a pin waits for it after all."""

log = structlog.get_logger()


class Bindings:
    """Binds names, and prepares what they are bound to. `admit` raises a CallerError for what the site refuses."""

    def __init__(
        self,
        resolver: Resolver,
        records: Records,
        memo: Memo,
        served: ServedImages,
        effects: Effects,
        admit: Callable[[Node, Node], Awaitable[None]],
    ) -> None:
        self._resolver = resolver
        self._memo = memo
        self._records = records
        self._served = served
        self._effects = effects
        self._admit = admit
        self._jobs = Jobs()

    async def close(self) -> None:
        """End all work."""
        await self._jobs.close()
        await self._effects.close()

    @property
    def running(self) -> int:
        """How many requests are prepared or acted upon now."""
        return len(self._jobs)

    def prepared(self, request: ContainerRequest) -> bool:
        """Tell whether it is known what the name answers, and nothing is left to do for that."""
        owner = Identity.of(request.principal)
        fixed = request.fixed
        if fixed is None or not self.acted_upon(request):
            return False
        return self._resolver.prepared(fixed, owner, build=self.builds(request.plan)) is not None

    def builds(self, plan: Node) -> bool:
        """Tell whether what a plan asks for is made before its effects."""
        return not self._effects.make(plan)

    def acted_upon(self, request: ContainerRequest) -> bool:
        """Tell whether no effect is left to do."""
        return self._effects.done(request)

    def doubt(self, request: ContainerRequest) -> None:
        """Have the effects of a request be run again: see `Effects.doubt`."""
        self._effects.doubt(request)

    async def begin(self, cached: CachedRequest) -> None:
        """Start on all that is left to do for a request.

        Raises:
            CallerError: it has just been refused.
        """
        with contextlib.suppress(UpstreamError, OurError):  # it has just failed, and may pass: whoever looks begins it
            cached.progress.attach(await self.prepare(cached))

    async def prepare(self, cached: CachedRequest, begun: Job[Pinned] | None = None) -> Job[Pinned]:
        """Start to settle what a name answers and to prepare that, or join those who do.

        `begun` is the work for the request that the name was given for, where it goes on.

        Raises:
            WaveletError: it has just failed.
        """
        owner, key = await self._owner_and_key(cached)
        return self._jobs.join("prepare", key, lambda: self._prepare(cached, owner, key[1], begun), MAKE_LIMIT)

    async def _prepare(self, cached: CachedRequest, owner: Identity, logins: str, begun: Job[Pinned] | None) -> Pinned:
        if cached.request.pin is not None:
            cached.progress.enter("make")
        if begun is not None and cached.request.pin is not None:
            take_part(begun)
            with contextlib.suppress(WaveletError):  # it comes again below, if it is of this name
                await begun.result(MAKE_LIMIT)
        fixed = await self.plan(cached, begun=begun, wait=MAKE_LIMIT)
        cached.progress.enter("make")
        build = self.builds(cached.request.plan)
        prepared = self._resolver.prepared(fixed, owner, build=build)
        if prepared is None:
            prepared = await (await self._resolver.prepare(fixed, owner, build=build)).result(MAKE_LIMIT)
        if not self._effects.done(cached.request):
            cached.progress.enter("after")
            await self._effects.run(cached.request, fixed, owner, logins)
        return prepared

    async def pinned_soon(self, plan: Node, identity: Identity, job: Job[Pinned] | None, began: float) -> Pinned | None:
        """Return the pin of what `job` works on since `began`, where it is there soon; why not is the job's to say.

        A name without it is another one, also where whoever asks does not wait.
        """
        left = began + NAME_WAIT - time.monotonic()
        if job is not None and not job.done and left > 0:
            with contextlib.suppress(WaveletError), asking(keep=False):
                return await (await self._resolver.pin(plan, identity)).result(left)
        return None

    async def go_on(
        self, cached: CachedRequest, job: Job[Pinned] | None, pinned: Pinned | None, *, dry_run: bool
    ) -> None:
        """Have the work for a request that is not decided yet be that of its name, and bind a name whose pin is known.

        Args:
            cached: the request.
            job: what was begun for it.
            pinned: what it was pinned to, if that is known, and as far as is known can be made.
            dry_run: whether only the name is wanted.
        """
        if job is None or job.done:
            if pinned is not None and cached.request.pin is None:
                with contextlib.suppress(WaveletError):  # then whoever pulls it binds it
                    await self.settle(cached, pinned)
        elif dry_run and cached.request.pin is None:
            await self.bind(cached, job)
        elif not dry_run and (cached.progress.job is None or cached.progress.job.given_up):
            # Whoever watches waits for this very work, whomever it was begun for: it ends with the last of them.
            cached.progress.attach(await self.prepare(cached, job))

    async def plan(self, cached: CachedRequest, *, begun: Job[Pinned] | None = None, wait: float = HELD) -> Node:
        """Return what a name answers, of which nothing moves; bind it if it is bound to nothing yet.

        Raises:
            ImageNotFound: it stands for an image that only another version of wavelet makes.
            AccessRefused: it is a name for everybody, and what was asked for is not for everybody.
            DirectoryUnavailable: the binding can be neither written nor read now.
            WaveletError: what was asked for cannot be pinned.
        """
        pin = cached.request.pin
        if pin is None:
            pin = await (await self.bind(cached, begun)).result(wait)
            cached.request = replace(cached.request, pin=pin)  # the job may be for who knows it by another value
        fixed = pin.fix(cached.request.plan)
        if made_otherwise(cached.request):
            raise ImageNotFound(
                f"this name is for an image as another version of wavelet makes it (maker {pin.maker}, this "
                f"one is maker {maker_of(fixed)}), and it is not here any more; send the request again: it gets a new "
                "name"
            )
        return fixed

    async def bind(self, cached: CachedRequest, begun: Job[Pinned] | None = None) -> Job[Pin]:
        """Start to bind a name, or join those who do. `begun` is as `prepare` has it.

        Raises:
            WaveletError: it has just failed.
        """
        owner, key = await self._owner_and_key(cached)
        return self._jobs.join("bind", key, lambda: self._bind(cached, owner, begun), MAKE_LIMIT)

    async def _owner_and_key(self, cached: CachedRequest) -> tuple[Identity, tuple[str, str]]:
        """Return for whom a name is, and the key of work for it: a new login makes it a new question."""
        owner = Identity.of(cached.request.principal)
        return owner, (cached.request.token, await self._resolver.logins_version(owner))

    async def _bind(self, cached: CachedRequest, owner: Identity, begun: Job[Pinned] | None) -> Pin:
        request = cached.request
        pinned = self._answered(request)
        if pinned is None:
            if begun is not None:
                take_part(begun)
            job = begun or await self._resolver.prepare(request.plan, owner, build=self.builds(request.plan))
            pinned = await job.result(MAKE_LIMIT)
        return await self.settle(cached, pinned)

    async def settle(self, cached: CachedRequest, pinned: Pinned) -> Pin:
        """Bind a name to what its request was pinned to, unless it is bound already; return what it is bound to.

        Raises:
            AccessRefused, DirectoryUnavailable: as `plan` has them; AccessRefused also for what the site refuses.
        """
        request = cached.request
        try:
            await self._admit(request.plan, pinned.plan)
        except AccessRefused:
            # Another node has bound it meanwhile, by rules of its own: what a name answers stays.
            stored = await self._records.get(request.token, patient=False)
            if stored is None or stored.pin is None:
                raise
        if request.principal == ANONYMOUS and not pinned.public:
            raise AccessRefused(
                "this name was given for everybody, while nobody could tell who may read what it is for; it turns out "
                "to be private. Send the request again: it gets a name of your own"
            )
        pin = Pin.of(pinned.plan)
        stands = await self._bound(request.token, pin)
        cached.request = replace(cached.request, pin=stands)
        if stands == pin:
            await self._give_first(request.token, pin)
        return stands

    async def _bound(self, token: str, pin: Pin) -> Pin:
        try:
            return await self._records.bind(token, pin)
        except OurError as error:
            said = f"what this name stands for could not be settled for all nodes: {error.message}"
            # There is room again soon, or there is not: whoever pulls cannot do anything about it but wait.
            raise (DirectoryUnavailable(said) if isinstance(error, NoSpace) else error.with_message(said)) from None

    async def _give_first(self, token: str, pin: Pin) -> None:
        """Have equal requests with the same pin get this name from now on, unless they have another one already."""
        try:
            stored = await self._records.get(token, patient=False)
            if stored is not None and stored.record.nonce:
                await self._records.put(Record(stored.record.plan, stored.record.principal, pin, first=token), {})
        except WaveletError as error:
            log.warning("equal requests will get another name than this one", token=token, because=error.message)

    def _answered(self, request: ContainerRequest) -> Pinned | None:
        """Return what this node has answered a name of an earlier version with, if it has."""
        for key in self._served.keys_by_tag(answer_name(request.token)):
            plan = self._memo.plan(key)
            if plan is not None and is_pin_of(plan, request.plan):
                return Pinned(plan, request.principal == ANONYMOUS)
        return None

    def made_before(self, request: ContainerRequest) -> tuple[str, Image] | None:
        """Return what this node has answered a name with that only another version of wavelet makes, and its key."""
        if made_otherwise(request):
            for key in self._keys(request):
                if (image := self._memo.get(key)) is not None:
                    return key, image
        return None

    def _keys(self, request: ContainerRequest) -> list[str]:
        """Return the keys of what this node has answered a name with; of a frozen one as long as it lives."""
        keys, delivery = self._served.keys_by_tag(answer_name(request.token)), request.plan.delivery
        if delivery is not None and delivery.is_own:
            keys += filter(None, [self._served.frozen.key(delivery.path, delivery.tag(request.token))])
        return keys


def is_pin_of(pinned: Node, asked: Node) -> bool:
    """Tell whether a plan is what another one was pinned to, as far as can be told without asking anybody."""
    pin = Pin.of(pinned)
    # Where layers are takes no part: the image may be of a request that knew them from elsewhere.
    return len(pin.parts) == len(list(parts(asked))) and canonical(pin.fix(asked)) == canonical(pinned)


def made_otherwise(request: ContainerRequest) -> bool:
    """Tell whether a name stands for an image that only another version of wavelet makes."""
    pin = request.pin
    return pin is not None and pin.is_made_otherwise(pin.fix(request.plan))
