"""The pinning of plans: each node's children, then the node itself, as its kind does it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from wavelet.errors import WaveletError
from wavelet.gather_all import gather_all
from wavelet.image.image import Content, Image
from wavelet.kinds.kind import Kinds, Pinned
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.node import Node
from wavelet.plan.tree import parts, walk
from wavelet.resolve.job import Jobs, account
from wavelet.resolve.journal import Journals, solve_key

PIN_LIMIT = 120.0
"""Seconds after which a pin's job gives up."""

SOLVE_LIMIT = 600.0
"""Seconds after which a solve's job gives up: it may take in large indexes and find out what the base image has."""


class Makes(Protocol):
    """What pinning needs of making."""

    async def make(self, plan: Node, key: str, identity: Identity, public: bool = False, *, wait: float) -> Image:
        """See `wavelet.resolve.making.Making.make`."""

    async def read(self, content: Content, identity: Identity) -> bytes:
        """See `wavelet.resolve.making.Making.read`."""


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
