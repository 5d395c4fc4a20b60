"""Container requests: a plan that somebody has asked for, under the token that names it from then on.

A POST waits for the pin only, and not long: what is undecided then goes on by itself, and the status tells the rest. A
node that has never seen a token (another one answered the POST, or this one has restarted) starts the work again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Literal

import structlog

from wavelet.cluster.records import Record, Records
from wavelet.errors import (
    AccessRefused,
    BlobNotFound,
    NotFound,
    OurError,
    Stopping,
    TokenNotFound,
    UpstreamError,
    WaitExpired,
    WaveletError,
)
from wavelet.image.digest import Digest
from wavelet.image.image import Image
from wavelet.image.platform import Platform
from wavelet.kinds.conda.locks.written import LockForm
from wavelet.kinds.registry_image.tags import Pinned, digest_of
from wavelet.plan.conda import FromConda
from wavelet.plan.identity import Identity
from wavelet.plan.names import path_of
from wavelet.plan.plan import INLINE, Plan, layers, parts
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit, decision_of
from wavelet.requests.binding import NAME_WAIT, Bindings
from wavelet.requests.history import History, Why
from wavelet.requests.listing import Listing
from wavelet.requests.naming import Naming, localised
from wavelet.requests.progress import Pending, Ready, State
from wavelet.requests.request_cache import (
    SOLVED_ANEW,
    SOLVING_ANEW,
    About,
    CachedRequest,
    ContainerRequest,
    RequestCache,
    answer_name,
    entry_of,
    notes_of,
)
from wavelet.requests.served import ServedImages
from wavelet.resolve.events import Event
from wavelet.resolve.job import Job, asking
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.resolver import Resolver

log = structlog.get_logger()

PIN_WAIT = 2.0
"""Seconds that a POST waits for its pin."""


class ContainerRequests:
    """All container requests, as this node sees them. `listing` has what was asked."""

    def __init__(
        self,
        resolver: Resolver,
        records: Records,
        known: RequestCache,
        history: History,
        named: RequestLayerVerifier,
        served: ServedImages,
        naming: Naming,
        bindings: Bindings,
        rules: AccessRules,
        audit: Audit,
    ) -> None:
        self._resolver = resolver
        self._records = records
        self._known = known
        self._history = history
        self.listing = Listing(known, history)
        self._layers = named
        self._served = served
        self._naming = naming
        self._bindings = bindings
        self._rules = rules
        self._audit = audit

    # -- asking -------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        plan: Plan,
        identity: Identity,
        inline: Mapping[Digest, bytes],
        about: About,
        *,
        dry_run: bool,
        refresh: bool = False,
        wait: float = PIN_WAIT,
        keep: bool = True,
    ) -> tuple[ContainerRequest, State]:
        """Name a plan, keep it, and start on it.

        Args:
            plan: what is asked for.
            identity: who asks.
            inline: bytes of layers that came with the request.
            about: facts that are shown again.
            dry_run: whether only the name is wanted.
            refresh: whether its packages are solved for anew.
            wait: seconds that this waits for the pin at the most; then the work goes on.
            keep: whether the work goes on too if this is cancelled; else only where somebody else wants it.

        Raises:
            CallerError: a definite no: no such image, refused, or layers that are not what the request says.
        """
        try:
            with contextlib.ExitStack() as waits:
                request, state = await self._submit(plan, identity, inline, about, dry_run, refresh, wait, keep, waits)
        except WaveletError as error:
            token = await self._naming.token_if_refused(plan, identity)
            self.refused(error, about, identity, token, plan)
            raise
        self._history.note(entry_of(about, identity.uid, request.token))
        name = f"{answer_name(request.token)}/{path_of(plan)}"
        decision: Literal["granted", "pending"] = "granted" if isinstance(state, Ready) else "pending"
        self._audit.note(decision, door=about.api, uid=identity.uid, principal=request.principal, name=name, plan=plan)
        return request, state

    async def _submit(
        self,
        plan: Plan,
        identity: Identity,
        inline: Mapping[Digest, bytes],
        about: About,
        dry_run: bool,
        refresh: bool,
        wait: float,
        keep: bool,
        waits: contextlib.ExitStack,
    ) -> tuple[ContainerRequest, State]:
        began = time.monotonic()
        state: State = Pending()
        earlier = self._resolver.latest_packages(plan) if refresh else []
        pinned = job = renewing = None
        failed: WaveletError | None = None
        try:
            with contextlib.suppress(TimeoutError), asking(keep=keep):
                async with asyncio.timeout(PIN_WAIT):
                    await self._layers.take_inline(plan, inline)
                if refresh:
                    renewing = waits.enter_context((await self._resolver.pin(plan, identity, refresh=True)).waiting())
                    await renewing.result(_left(began, max(wait, NAME_WAIT)))
                # Nothing is made for a dry run; but its name depends on whether the layers are where it says.
                light = dry_run and all(layer.location == INLINE for layer in layers(plan))
                begin = self._resolver.pin if light else self._resolver.prepare
                pinned = self._resolver.fresh(plan, identity) if light else self._resolver.prepared(plan, identity)
                if pinned is None:
                    job = waits.enter_context((await begin(plan, identity)).waiting())
                    pinned = await job.result(_left(began, wait))
                state = Ready()
        except (UpstreamError, OurError) as error:
            failed = None if isinstance(error, WaitExpired | Stopping) else error
        has_packages = any(isinstance(part, FromConda) for part in parts(plan))
        unsolved = has_packages and renewing is not None and not renewing.done
        if pinned is None and not unsolved:
            pinned = self._resolver.fresh(plan, identity) or await self._bindings.pinned_soon(
                plan, identity, job, began
            )
        if unsolved or (earlier and pinned and self._resolver.latest_packages(pinned.plan) != earlier):
            about = about.noting(SOLVING_ANEW if unsolved else SOLVED_ANEW)
        record = await self._naming.record(plan, identity, pinned, anew=refresh and has_packages)
        known = await self._keep(record, inline, about)
        if refresh:
            known.progress.forget()
        done = isinstance(state, Ready) and not dry_run
        known.progress.submitted(time.monotonic() - began if done else None, failed)
        job = renewing if unsolved else job
        with asking(keep=keep):
            await self._bindings.go_on(known, job, None if failed else pinned, dry_run=dry_run)
        return known.request, known.progress.failure(failed) if failed is not None else state

    def refused(
        self, error: WaveletError, about: About, identity: Identity, token: str = "", plan: Plan | None = None
    ) -> None:
        """Write down that a request was refused; of one that cannot be read there is no token and no plan."""
        name = about.image if plan is None else f"{answer_name(token)}/{path_of(plan)}"
        decision = decision_of(error)
        self._audit.note(decision, door=about.api, uid=identity.uid, name=name, plan=plan, reason=error.message)
        self._history.note(entry_of(about, identity.uid, token, Why.of(error)))

    async def _keep(self, record: Record, inline: Mapping[Digest, bytes], about: About) -> CachedRequest:
        token = await self._naming.keep(record, inline)
        known = await self._known.look_up(token)
        self._known.describe(known, about)
        plan = localised(record.plan, token)
        is_ready = known.progress.took is not None
        if known.request.plan != plan and (not is_ready or self._layers.are_known(record.plan)):
            # The same layers from other places: of two requests the later one knows better where they are now.
            known.request = replace(known.request, plan=plan)
            known.progress.job = known.progress.job if is_ready else None
        for asked, kept in zip(layers(record.plan), layers(plan), strict=True):
            size = self._layers.known_size(asked) if asked.location == INLINE else None
            if size is not None and self._layers.known_size(kept) is None:
                self._layers.remember(kept, size)
        return known

    # -- knowing ------------------------------------------------------------------------------------------------------

    async def find(self, token: str, identity: Identity) -> ContainerRequest:
        """Return a request, with what is known of its digests.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        request = (await self._visible(token, identity)).request
        made = next(self._served.images(answer_name(token)), None)
        return replace(
            request,
            source_digest=None if request.fixed is None else digest_of(request.fixed),
            made_digest=None if made is None else made.descriptor.digest,
        )

    async def request(self, token: str) -> ContainerRequest:
        """Return a request as quickly as can be, for a pull; this counts as a use.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
        """
        known = await self._known.look_up(token)
        try:
            await self._records.touch(token)
        except WaveletError as error:
            log.warning("the use of a request could not be noted", token=token, because=error.message)
        return known.request

    async def realise(self, token: str, identity: Identity) -> tuple[str, Image]:
        """Return the key and the image that a name answers, for whoever pulls it; it is the same for good.

        Raises:
            WaveletError: why there is none for this identity.
        """
        known = await self._known.look_up(token)
        if (made := self._bindings.made_before(known.request)) is not None:
            await self._resolver.may_read(made[1], identity)
        else:
            made = await self._resolver.realise(await self._bindings.plan(known), identity)
        known.progress.pulled()
        return made

    async def plan(self, token: str) -> Plan:
        """Return what a name answers, as a plan of which nothing moves; bind the name if need be.

        Raises:
            WaveletError: that cannot be told.
        """
        return await self._bindings.plan(await self._known.look_up(token))

    async def _visible(self, token: str, identity: Identity) -> CachedRequest:
        try:
            known = await self._known.look_up(token)
        except TokenNotFound as error:
            why = self._history.refusal(token, identity.uid)
            if why is None:
                raise
            raise error.with_message(f"this container request was refused: {why.message}") from None
        if not self._rules.may_see(identity, known.request.principal):
            raise AccessRefused("this container request belongs to another user")
        return known

    async def status(
        self, token: str, identity: Identity, *, keep: bool = True
    ) -> tuple[ContainerRequest, State, float]:
        """Return a request's state and for how many seconds it has been worked on; start the work if need be.

        `keep` is as `submit` has it.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        known = await self._visible(token, identity)
        if known.progress.is_unknown and self._bindings.prepared(known.request):
            known.progress.pulled()  # of before a restart, or another node's: nothing is left to do
        state = await known.progress.state(self._beginner(known, keep=keep))
        if keep and known.progress.job is not None:
            known.progress.job.keep()
        return known.request, state, known.progress.seconds

    async def ask_again(self, token: str, identity: Identity) -> State:
        """Ask anew for what a token stands for, if it is not ready.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        known = await self._visible(token, identity)
        known.progress.submitted(None)
        return (await self.status(token, identity))[1]

    async def asked(self, token: str, identity: Identity) -> tuple[Plan, dict[Digest, bytes]]:
        """Return what a request asked for, with the bytes of its inline layers, so that it can be asked for again.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            BlobNotFound: its inline layers are no longer beside it.
        """
        plan = (await self._visible(token, identity)).request.plan
        inline = {}
        for layer in layers(plan):
            if layer.location.startswith(INLINE):
                content = await self._records.inline(token, layer.digest)
                if content is None:
                    raise BlobNotFound(
                        f"the inline layer {layer.digest} is no longer beside its request; send it again"
                    )
                inline[layer.digest] = content
        return localised(plan, ""), inline

    async def watch(self, token: str, identity: Identity) -> AsyncGenerator[Event, None]:
        """Yield how the work for a request goes, from its start until it is ready; start it if need be.

        Whoever watches waits for it: when the last one goes away, the work ends, unless somebody asked to keep it.
        Close this at the end (`contextlib.aclosing`), or it counts as watching for a while longer.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            WaveletError: there will be no image, for this reason.
        """
        known = await self._visible(token, identity)
        async with contextlib.aclosing(known.progress.watch(self._beginner(known, keep=False))) as events:
            async for event in events:
                yield event

    def _beginner(self, known: CachedRequest, *, keep: bool) -> Callable[[], Awaitable[Job[Pinned]]]:
        async def begin() -> Job[Pinned]:
            with asking(keep=keep):
                return await self._bindings.prepare(known)

        return begin

    async def log(self, token: str, identity: Identity) -> str:
        """Return the notes on a request, and the log of what is, or was, made for it; empty if there is neither.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        request = (await self._visible(token, identity)).request
        return notes_of(request) + self._resolver.log(request.plan, request.fixed)

    async def lock(self, token: str, identity: Identity, form: LockForm, platform: Platform | None) -> str:
        """Return the exact packages of a request as a lock file.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            NotFound: it has no packages, or they are not decided yet.
            WaveletError: they cannot be had.
        """
        request = (await self._visible(token, identity)).request
        owner = Identity.of(request.principal)
        lock = await self._resolver.lock_file(request.fixed or request.plan, owner, form, platform)
        if lock is None:
            raise NotFound("there is no lock: this request has no packages, or they are not solved for yet")
        return lock

    async def evict(self, token: str, identity: Identity, *, door: str) -> None:
        """Forget a request. `door` is by which it is asked, for the audit log.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is not the caller's.
        """
        name = answer_name(token)
        with self._audit.refusals(door=door, uid=identity.uid, name=name):
            known = await self._known.look_up(token)
            if not self._rules.may_evict(identity, known.request.principal):
                raise AccessRefused("only who made a request, root, or the daemon's own user may evict it")
        await self._records.evict(token)
        self._known.forget(token)
        self._history.forget(token)
        self._served.forget(name)
        self._audit.note("evicted", door=door, uid=identity.uid, name=name, plan=known.request.plan)


def _left(began: float, wait: float) -> float:
    return max(0.0, began + wait - time.monotonic())
