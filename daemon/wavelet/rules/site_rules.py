"""The rules of the site as a service: of now, with the packs of now, for each way in which something is asked for."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from cachetools import TTLCache

from wavelet.errors import OurError
from wavelet.image.reference import Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.packs.model import PackPending, Packs, PackUse
from wavelet.plan.node import Node
from wavelet.rules.admission import ANYBODY, admit, judge, judged
from wavelet.rules.applying import Outcome, RuleEffect, RuleRefused, apply, explained
from wavelet.rules.index import IndexedRules
from wavelet.rules.model import Asking, RuleSet

GROUPS_TTL = 60.0
"""Seconds for which the groups of a user are not looked up again."""

GROUPS_WAIT = 5.0
"""Seconds that the look-up may take: it can be on a network."""

_USERS_HELD = 4096

T = TypeVar("T")


class RulesUnread(OurError):
    """There are rules, and none of them could be read: nobody knows what the site refuses."""

    reason = "RULES_UNREAD"
    status = 503


class GroupsUnread(OurError):
    """The user database of this node does not say in time which groups a user has."""

    reason = "GROUPS_UNREAD"
    status = 503


async def _at_once(_names: Iterable[str]) -> None:
    return


class SiteRules:
    """Applies rules.

    `current` returns those in force; `settled` waits for packs to be built, by their names; `own` are the hosts by
    which references name this node.
    """

    def __init__(
        self,
        current: Callable[[], RuleSet],
        packs: Packs,
        settled: Callable[[Iterable[str]], Awaitable[None]] = _at_once,
        own: Container[str] = frozenset(),
    ) -> None:
        self._own = own
        self._anybody = replace(ANYBODY, own=own)
        self._current = current
        self._packs = packs
        self._settled = settled
        self._indexed = RuleSet(), IndexedRules()
        self._groups: TTLCache[int, frozenset[int]] = TTLCache(_USERS_HELD, GROUPS_TTL)

    @property
    def current(self) -> RuleSet:
        """The rules in force."""
        return self._current()

    @property
    def admits(self) -> bool:
        """Whether there is a rule that judges what was pinned."""
        return bool(self._index().admit)

    @property
    def restricts(self) -> bool:
        """Whether there are rules, or nobody knows."""
        return self._current().is_closed or bool(self._current().rules)

    async def apply(self, plan: Node, asking: Asking, packs: Sequence[str] = ()) -> Outcome:
        """Return what the rules make of what is asked for; `packs` are those that a request itself asks for.

        Raises:
            RuleRefused: a rule does not allow it.
            PackRefused: a pack cannot be added.
            RulesUnread: the rules cannot be read.
        """
        wanted, rules = _wanted(packs), self._open()
        asking = await self._told(asking, rules)
        return await self._with_packs(lambda: apply(rules, plan, asking, self._packs, wanted))

    async def admit(self, asked: Node, pinned: Node) -> None:
        """Return if the rules admit what a plan was pinned to.

        Raises:
            RuleRefused: a rule does not.
            RulesUnread: the rules cannot be read.
        """
        await admit(self._open().admit, asked, pinned, self._anybody)

    def second_place(self, reference: Reference) -> Reference:
        """Return from where the site has what is looked for at a second place, `upstream.aliases`, for anybody.

        What is found there is for all who ask for the first one, so that rules for some of them take no part.

        Raises:
            RuleRefused: a rule refuses that place.
            RulesUnread: the rules cannot be read.
        """
        rules = self._open().for_anybody
        plan = apply(rules, RegistryImage(reference), self._anybody, self._packs).plan
        assert plan.named is not None, "nothing is added by these"
        return plan.named

    async def explain(self, plan: Node, asking: Asking, packs: Sequence[str] = ()) -> tuple[Outcome, str]:
        """Return what the rules would make of a request or a name, and the sentence by which they refuse it.

        Raises:
            RulesUnread, PackRefused: as `apply` has them.
        """
        wanted, rules = _wanted(packs), self._open()
        asking = await self._told(asking, rules)
        outcome, refused = await self._with_packs(lambda: explained(rules, plan, asking, self._packs, wanted))
        if refused is not None:
            return outcome, refused.message
        for rule, start in judged(rules.admit, outcome.plan, self._anybody):
            try:
                judge(rule, start, start.node.digest)
                outcome.effects.append(RuleEffect(rule, start.name, "judged when it is pinned", is_change=False))
            except RuleRefused as error:
                outcome.effects.append(RuleEffect(rule, start.name, "refused", is_change=False))
                return outcome, error.message
        return outcome, ""

    async def _told(self, asking: Asking, rules: IndexedRules) -> Asking:
        """Return who asks with the groups that a rule wants to know of."""
        asking = replace(asking, own=self._own)
        if asking.uid is None or not rules.groups:
            return asking
        return replace(asking, gids=await self._groups_of(asking.uid))

    async def _with_packs(self, applied: Callable[[], T]) -> T:
        """Return what comes of applying rules, once the packs that this takes are built."""
        while True:
            try:
                return applied()
            except PackPending as pending:
                await self._settled([pending.pack])

    def _open(self) -> IndexedRules:
        rules = self._current()
        if rules.is_closed:
            raise RulesUnread(
                "the rules of this site cannot be read, and without them nobody knows what it refuses: "
                + "; ".join(rules.problems)
            )
        return self._index()

    def _index(self) -> IndexedRules:
        current = self._current()
        if self._indexed[0] is not current:
            self._indexed = current, IndexedRules(current.rules)
        return self._indexed[1]

    async def _groups_of(self, uid: int) -> frozenset[int]:
        if uid not in self._groups:
            try:
                async with asyncio.timeout(GROUPS_WAIT):
                    self._groups[uid] = await asyncio.to_thread(_look_up_groups, uid)
            except TimeoutError:
                raise GroupsUnread(
                    f"a rule of this site asks for the groups of uid {uid}, which the node's user database has not "
                    f"told within {GROUPS_WAIT:.0f} seconds; ask again"
                ) from None
        return self._groups[uid]


def _wanted(packs: Sequence[str]) -> list[PackUse]:
    return [PackUse.parse(text, f"packs[{index}]") for index, text in enumerate(packs)]


def _look_up_groups(uid: int) -> frozenset[int]:
    """Return the groups of a user as the node knows them; a uid without an entry has none."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return frozenset(each.gr_gid for each in grp.getgrall() if str(uid) in each.gr_mem)
    return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
