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

import structlog

from wavelet.cluster.records import Record, Records
from wavelet.errors import (
    AccessRefused,
    NotFound,
    OurError,
    Stopping,
    TokenNotFound,
    UpstreamError,
    WaitExpired,
    WaveletError,
)
from wavelet.image.digest import Digest
from wavelet.image.platform import Platform
from wavelet.image.reference import Reference
from wavelet.pin.tags import Pinned, digest_of
from wavelet.plan.identity import Identity, Login
from wavelet.plan.names import path_of
from wavelet.plan.plan import INLINE, Plan, layers
from wavelet.plan.source import FromRegistry
from wavelet.resolve.access import AccessRules
from wavelet.resolve.audit import Audit, decision_of
from wavelet.resolve.documents import Documents, read_documents
from wavelet.resolve.events import Event
from wavelet.resolve.history import History, Why
from wavelet.resolve.job import Job, asking
from wavelet.resolve.known import About, ContainerRequest, Known, KnownRequests, entry_of, notes_of
from wavelet.resolve.layers import Layers
from wavelet.resolve.listing import Listing
from wavelet.resolve.lock_files import LockForm
from wavelet.resolve.memo import Answers
from wavelet.resolve.naming import Naming, localised
from wavelet.resolve.progress import Pending, Ready, State
from wavelet.resolve.resolver import Resolver
from wavelet.upstream.client import Upstream

log = structlog.get_logger()

PIN_WAIT = 2.0
"""Seconds that a POST waits for its pin."""


def answer_name(token: str) -> str:
    """Return the name under which `Answers` keeps what a token has answered."""
    return f"wt/{token}"


class ContainerRequests:
    """All container requests, as this node sees them. `listing` has what was asked."""

    def __init__(
        self,
        resolver: Resolver,
        records: Records,
        known: KnownRequests,
        history: History,
        named: Layers,
        answers: Answers,
        upstream: Upstream,
        naming: Naming,
        rules: AccessRules,
        audit: Audit,
    ) -> None:
        self._resolver = resolver
        self._records = records
        self._known = known
        self._history = history
        self.listing = Listing(known, history)
        self._layers = named
        self._answers = answers
        self._upstream = upstream
        self._naming = naming
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
            request, state = await self._submit(plan, identity, inline, about, dry_run, refresh, wait, keep)
        except WaveletError as error:
            token = await self._naming.token_if_refused(plan, identity)
            self.refused(error, about, identity, token, plan)
            raise
        self._history.note(entry_of(about, identity.uid, request.token))
        name = f"{answer_name(request.token)}/{path_of(plan)}"
        self._audit.note(
            "granted" if isinstance(state, Ready) else "pending",
            door=about.api,
            uid=identity.uid,
            principal=request.principal,
            name=name,
            plan=plan,
        )
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
    ) -> tuple[ContainerRequest, State]:
        began = time.monotonic()
        state: State = Pending()
        pinned = job = None
        failed: WaveletError | None = None
        try:
            with contextlib.suppress(TimeoutError), asking(keep=keep):
                async with asyncio.timeout(PIN_WAIT):
                    await self._take_inline(plan, inline)
                if refresh:
                    renewing = await self._resolver.pin(plan, identity, refresh=True)
                    await renewing.result(_left(began, wait))
                # Nothing is made for a dry run; but its name depends on whether the layers are where it says.
                light = dry_run and all(layer.location == INLINE for layer in layers(plan))
                begin = self._resolver.pin if light else self._resolver.prepare
                pinned = self._resolver.fresh(plan, identity) if light else self._resolver.prepared(plan, identity)
                if pinned is None:
                    job = await begin(plan, identity)
                    pinned = await job.result(_left(began, wait))
                state = Ready()
        except (UpstreamError, OurError) as error:
            failed = None if isinstance(error, WaitExpired | Stopping) else error
        if pinned is None:
            pinned = self._resolver.fresh(plan, identity)
        known = await self._keep(await self._naming.record(plan, identity, pinned), inline, about)
        if refresh:
            known.progress.forget()
        done = isinstance(state, Ready) and not dry_run
        known.progress.submitted(time.monotonic() - began if done else None, failed)
        if job is not None and not job.done and not dry_run and known.progress.job is None:
            # Whoever watches waits for this very work, whomever it was begun for: it ends with the last of them.
            known.progress.attach(job)
        return known.request, known.progress.failure(failed) if failed is not None else state

    def refused(
        self, error: WaveletError, about: About, identity: Identity, token: str = "", plan: Plan | None = None
    ) -> None:
        """Write down that a request was refused; of one that cannot be read there is no token and no plan."""
        name = about.image if plan is None else f"{answer_name(token)}/{path_of(plan)}"
        decision = decision_of(error)
        self._audit.note(decision, door=about.api, uid=identity.uid, name=name, plan=plan, reason=error.message)
        self._history.note(entry_of(about, identity.uid, token, Why.of(error)))

    async def _take_inline(self, plan: Plan, inline: Mapping[Digest, bytes]) -> None:
        for layer in layers(plan):
            if layer.location == INLINE and self._layers.known_size(layer) is None:
                await self._layers.check_inline(layer, inline[layer.digest])
                self._layers.remember(layer, len(inline[layer.digest]))

    async def _keep(self, record: Record, inline: Mapping[Digest, bytes], about: About) -> Known:
        token = await self._records.put(record, inline)
        known = await self._known.look_up(token)
        self._known.describe(known, about)
        plan = localised(record.plan, token)
        if known.request.plan != plan and known.progress.took is None:
            # The same layers from other places: of two requests the later one knows better where they are now.
            known.request, known.progress.job = replace(known.request, plan=plan), None
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
        pinned = self._resolver.fresh(request.plan, self._rules.identity_of(request.principal))
        made = next(self._answers.images(answer_name(token)), None)
        return replace(
            request,
            source_digest=None if pinned is None else digest_of(pinned.plan),
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

    async def pulled(self, token: str) -> None:
        """Note that the image of a request was pulled."""
        (await self._known.look_up(token)).progress.pulled()

    async def _visible(self, token: str, identity: Identity) -> Known:
        try:
            known = await self._known.look_up(token)
        except TokenNotFound as error:
            why = self._history.refusal(token, identity.uid)
            if why is None:
                raise
            raise error.saying(f"this container request was refused: {why.message}") from None
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
        owner = self._rules.identity_of(known.request.principal)
        if known.progress.is_unknown and self._resolver.prepared(known.request.plan, owner) is not None:
            known.progress.pulled()  # of before a restart, or another node's: nothing is left to do
        state = await known.progress.state(self._beginner(known, keep=keep))
        if keep and known.progress.job is not None:
            known.progress.job.keep()
        return known.request, state, known.progress.seconds

    async def ask_again(self, token: str, identity: Identity, *, refresh: bool = False) -> State:
        """Ask anew for what a token stands for, if it is not ready; with `refresh` its packages are solved for anew.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            WaveletError: its packages cannot be solved for.
        """
        known = await self._visible(token, identity)
        if refresh:
            owner = self._rules.identity_of(known.request.principal)
            await (await self._resolver.pin(known.request.plan, owner, refresh=True)).result()
            known.progress.forget()
        known.progress.submitted(None)
        return (await self.status(token, identity))[1]

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

    def _beginner(self, known: Known, *, keep: bool) -> Callable[[], Awaitable[Job[Pinned]]]:
        async def begin() -> Job[Pinned]:
            with asking(keep=keep):
                return await self._resolver.prepare(
                    known.request.plan, self._rules.identity_of(known.request.principal)
                )

        return begin

    async def log(self, token: str, identity: Identity) -> str:
        """Return the notes on a request, and the log of what is, or was, made for it; empty if there is neither.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        request = (await self._visible(token, identity)).request
        return notes_of(request) + self._resolver.log(request.plan)

    async def lock(self, token: str, identity: Identity, form: LockForm, platform: Platform | None) -> str:
        """Return the exact packages of a request as a lock file.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
            NotFound: it has no packages, or they are not decided yet.
            WaveletError: they cannot be had.
        """
        request = (await self._visible(token, identity)).request
        owner = self._rules.identity_of(request.principal)
        lock = await self._resolver.lock_file(request.plan, owner, form, platform)
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
        self._answers.forget(name)
        self._audit.note("evicted", door=door, uid=identity.uid, name=name, plan=known.request.plan)

    # -- other questions of the API ----------------------------------------------------------------------------------

    async def documents(self, reference: Reference, platform: Platform | None, identity: Identity) -> Documents:
        """Return the documents of an image, for inspection.

        Raises:
            WaveletError: why they cannot be had.
        """
        return await self.documents_of(FromRegistry(reference, platform), str(reference), identity)

    async def documents_of(self, plan: Plan, name: str, identity: Identity) -> Documents:
        """Return the documents of the image of a plan that is called `name`.

        Raises:
            WaveletError: why they cannot be had.
        """
        with self._audit.refusals(door="inspect", uid=identity.uid, name=name, plan=plan):
            documents = await read_documents(self._resolver, plan, name, identity)
        digest, principal = str(documents.descriptor.digest), identity.principal
        self._audit.note(
            "granted", door="inspect", uid=identity.uid, principal=principal, name=name, plan=plan, digest=digest
        )
        return documents

    async def check_login(self, host: str, login: Login) -> bool:
        """Tell whether a registry takes a login.

        Raises:
            CallerError: the host may not be asked.
            UpstreamError: it does not answer.
        """
        return await self._upstream.check_login(host, login)


def _left(began: float, wait: float) -> float:
    return max(0.0, began + wait - time.monotonic())
