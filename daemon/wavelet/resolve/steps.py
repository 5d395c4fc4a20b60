"""The steps of the resolver, pin and make: each node once, however many ask, as its kind does it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from wavelet.concurrency import gather_all
from wavelet.errors import BlobNotFound, WaveletError
from wavelet.image.image import Content, Image, MadeBy
from wavelet.image.reference import Repository
from wavelet.kinds.kind import Kinds, Pinned, Stands, Work
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node, parts, repositories, walk
from wavelet.plan.tokens import ANONYMOUS, Identity
from wavelet.resolve.cached_layers import CachedLayer
from wavelet.resolve.content_sources import MakingSource
from wavelet.resolve.events import Journals, make_key, solve_key
from wavelet.resolve.first_made import make_first
from wavelet.resolve.job import HELD, Job, Jobs, account
from wavelet.resolve.memo import Memo
from wavelet.resolve.work import ResolverWork, Tools

PIN_LIMIT = 120.0
"""Seconds after which a pin's job gives up."""

SOLVE_LIMIT = 600.0
"""Seconds after which a solve's job gives up: it may take in large indexes and find out what the base image has."""


class Makes(Protocol):
    """What pinning needs of making."""

    async def make(self, plan: Node, key: str, identity: Identity, public: bool = False, *, wait: float) -> Image:
        """See `wavelet.resolve.steps.Making.make`."""

    async def read(self, content: Content, identity: Identity) -> bytes:
        """See `wavelet.resolve.steps.Making.read`."""


@dataclass(frozen=True, slots=True)
class _Work:
    """`wavelet.kinds.kind.PinWork`; `public` is whether everybody may read what the node stands on."""

    making: Makes
    identity: Identity
    public: bool
    refresh: bool
    report: Callable[[str], None]

    async def realise(self, plan: Node) -> Image:
        """See `PinWork`."""
        return await self.making.make(plan, key_of(plan), self.identity, self.public, wait=SOLVE_LIMIT)

    async def read(self, content: Content) -> bytes:
        """See `PinWork`."""
        return await self.making.read(content, self.identity)


class Pinning:
    """See the module."""

    def __init__(self, kinds: Kinds, making: Makes, journals: Journals, jobs: Jobs) -> None:
        self._kinds = kinds
        self._making = making
        self._journals = journals
        self._jobs = jobs

    def fresh(self, plan: Node, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nobody has to be asked for it."""
        below = Pinned(plan, public=True)
        if plan.children:
            children = [self.fresh(child, identity) for child in plan.children]
            found = [child for child in children if child is not None]
            if len(found) < len(children):
                return None
            below = _on(plan, found)
        own = self._kinds.of(plan).fresh(plan, below.plan, identity)
        return own if own is None or below.public else replace(own, public=False)

    async def pin(self, plan: Node, identity: Identity, *, refresh: bool) -> Pinned:
        """Pin `plan`; with `refresh` what is solved is solved for anew.

        Raises:
            WaveletError: why it cannot be pinned.
        """
        account().begin("pinning")
        return await self._pin(plan, identity, refresh)

    async def _pin(self, plan: Node, identity: Identity, refresh: bool) -> Pinned:
        below = _on(plan, await gather_all(self._pin(child, identity, refresh) for child in plan.children))
        own = await self._own(plan, below, identity, refresh)
        return own if below.public else replace(own, public=False)

    async def _own(self, plan: Node, below: Pinned, identity: Identity, refresh: bool) -> Pinned:
        kind = self._kinds.of(plan)
        if not kind.is_solved:
            return await kind.pin(plan, below.plan, _Work(self._making, identity, below.public, refresh, _unread))
        own = None if refresh else kind.fresh(plan, below.plan, identity)
        if own is None:
            # Many plans may have the same packages in common; each has them on what it stands on itself.
            solve = self._jobs.join(
                "solve", _key(plan, refresh), lambda: self._solve(plan, below, identity, refresh), SOLVE_LIMIT
            )
            own = await solve.result(SOLVE_LIMIT)
            own = replace(own, plan=own.plan.with_children(below.plan.children))
        return own

    async def _solve(self, plan: Node, below: Pinned, identity: Identity, refresh: bool) -> Pinned:
        report = self._journals.begin(solve_key(plan))
        account().begin("solving")
        account().log(self._journals.lines(solve_key(plan)))
        try:
            work = _Work(self._making, identity, below.public, refresh, report)
            return await self._kinds.of(plan).pin(plan, below.plan, work)
        except WaveletError as error:
            report(f"failed: {error.message}")
            raise
        finally:
            self._journals.end(solve_key(plan))

    def limit(self, plan: Node) -> float:
        """Return the seconds after which the job of pinning `plan` gives up."""
        return SOLVE_LIMIT if self.is_solved(plan) else PIN_LIMIT

    def is_solved(self, plan: Node) -> bool:
        """Tell whether there is something in the plan that can be solved for anew."""
        return any(self.solved_parts(plan))

    def solved_parts(self, plan: Node) -> Iterator[Node]:
        """Yield what is solved of a plan that is not pinned."""
        return (part for part in parts(plan) if self._kinds.of(part).is_solved)

    def solutions(self, plan: Node) -> list[Hashable]:
        """Return what a plan was solved to as this node knows last, whether that still stands or not."""
        found = (self._kinds.of(part).solution(part) for part in parts(plan))
        return [solution for solution in found if solution is not None]

    def is_doubted(self, plan: Node) -> bool:
        """Tell whether something in it is to be pinned anew because what it was is gone."""
        return any(self._kinds.of(node).is_doubted(node) for node in walk(plan))

    def forget_failures(self, plan: Node) -> None:
        """Let no solve stand that has failed."""
        for part in parts(plan):
            for refresh in (False, True):
                self._jobs.forget("solve", _key(part, refresh))


def _key(plan: Node, refresh: bool) -> tuple[str, bool]:
    return key_of(plan), refresh


def _on(plan: Node, children: list[Pinned]) -> Pinned:
    """Return a node on pinned children, which itself is not pinned yet."""
    if not children:
        return Pinned(plan, public=True)
    fixed = plan.with_children([child.plan for child in children])
    return Pinned(fixed, all(child.public for child in children))


def _unread(_line: str) -> None:
    """Take a line of a log that nobody can ask for."""


log = structlog.get_logger()

MAKE_LIMIT = 3600.0
"""Seconds after which a making job gives up."""


class Making:
    """See the module."""

    def __init__(self, kinds: Kinds, memo: Memo, journals: Journals, tools: Tools, jobs: Jobs) -> None:
        self._kinds = kinds
        self._memo = memo
        self._journals = journals
        self._tools = tools
        self._jobs = jobs
        tools.inputs.contents.add_last(MakingSource(tools.store, self._make_again))

    async def make(
        self,
        plan: Node,
        key: str,
        identity: Identity,
        public: bool = False,
        *,
        wait: float = HELD,
        report: Callable[[str], None] | None = None,
        cache: Repository | None = None,
    ) -> Image:
        """Return the image of a pinned plan that `identity` may read, waiting for at most `wait` seconds.

        `report` takes the lines of the log that this making is a part of. `cache` is the repository for layers that the
        plan which this one is a part of names; it takes no part in what is made.

        Raises:
            WaveletError: why there is none.
        """
        image = self._memo.get(key)
        if image is None:
            image = await self._make(plan, key, identity, public, report, cache).result(wait)
        item = self._kinds.of(plan).item(plan)
        if item is not None:
            account().ready(item)
        return image

    def _make(
        self,
        plan: Node,
        key: str,
        identity: Identity,
        public: bool,
        report: Callable[[str], None] | None = None,
        cache: Repository | None = None,
    ) -> Job[Image]:
        # What one identity failed to fetch is no answer for another one.
        holder = ANONYMOUS if public or not any(repositories(plan)) else identity.principal
        cache = cache if plan.delivery is None else plan.delivery.cache

        async def make() -> Image:
            with self._journal(plan, key, report or _unread) as line:
                work = ResolverWork(self, self._tools, key, identity, public, line, cache)
                title = "" if cache is None else self._kinds.of(plan).cached_as(plan)
                try:
                    if cache is None or not title:
                        image = await self._made(plan, work)
                    else:
                        image = await self._cached(plan, work, CachedLayer(cache, key, title, identity, line))
                finally:
                    work.close()
                await self._memo.put(key, plan, image)
            return image

        return self._jobs.join("make", (key, holder), make, MAKE_LIMIT)

    async def _cached(self, plan: Node, work: Work, layer: CachedLayer) -> Image:
        """Return a layer from the repository that is asked for it first; what is made instead is put there."""
        found = await self._tools.cached.find(layer)
        if found is not None:
            return found
        image = await self._made(plan, work)
        job = (layer.repository, layer.identity.principal, layer.key)
        with contextlib.suppress(WaveletError):  # whoever waits for the image does not wait for this
            self._jobs.join("put", job, lambda: self._tools.cached.put(layer, image), MAKE_LIMIT).keep()
        return image

    async def _made(self, plan: Node, work: Work) -> Image:
        kind = self._kinds.of(plan)
        if kind.stands is Stands.FIRST_MADE:
            return await make_first(kind, plan, work, self._tools.sharing)
        return await kind.make(plan, work)

    @contextlib.contextmanager
    def _journal(self, plan: Node, key: str, report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
        """Give what takes the log's lines; some kinds have a log of their own."""
        kind = self._kinds.of(plan)
        if not kind.has_log:
            yield report
            return
        line = self._journals.begin(make_key(key))
        doing = account()
        doing.begin("making")
        doing.log(self._journals.lines(make_key(key)))
        doing.want(kind.items(plan))
        try:
            yield line
        except WaveletError as error:
            line(f"failed: {error.message}")
            raise
        finally:
            self._journals.end(make_key(key))

    def journals_of(self, pinned: Node) -> list[str]:
        """Return the keys of the logs of the making of a pinned plan."""
        return list(dict.fromkeys(make_key(key_of(node)) for node in walk(pinned) if self._kinds.of(node).has_log))

    def remembers(self, key: str) -> bool:
        """Tell whether the pinned plan with `key` was made before."""
        return self._memo.get(key) is not None

    @contextlib.contextmanager
    def work_for(self, plan: Node, identity: Identity) -> Iterator[Work]:
        """Give what it takes to look into a pinned plan, without making it."""
        work = ResolverWork(self, self._tools, key_of(plan), identity, False, _unread)
        try:
            yield work
        finally:
            work.close()

    async def renew(self, image: Image) -> None:
        """Count what is in an image as used, where it stands as it was made first.

        Raises:
            WaveletError: that cannot be noted.
        """
        made: dict[str, list[Content]] = {}
        for content in image.contents:
            if isinstance(content.source, MadeBy):
                made.setdefault(content.source.key, []).append(content)
        for key, contents in made.items():
            plan = self._memo.plan(key)
            if plan is not None and self._kinds.of(plan).stands is Stands.FIRST_MADE:
                await self._tools.sharing.renew(key, contents)

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole: see `ContentSources.read`."""
        return await self._tools.inputs.contents.read(content, identity)

    async def _make_again(self, content: Content, key: str, identity: Identity) -> None:
        plan = self._memo.plan(key)
        if plan is None:
            raise BlobNotFound("what made this is no longer remembered; pull the image by its name again")
        log.info("making again what was evicted", key=key)
        image = await self._make(plan, key, identity, public=False).result()
        digest = content.descriptor.digest
        if self._kinds.of(plan).stands is Stands.FIRST_MADE and digest not in image.closure:
            raise BlobNotFound(
                f"{digest} was lost on this node, and what it is of has other bytes when it is made again; a request "
                "that differs from this one in anything gets an image that is whole"
            )
