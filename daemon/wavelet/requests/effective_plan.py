"""The effective plan of a request: what the rules and the settings of the site make of what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from wavelet.plan.node import Node
from wavelet.requests.request import Request, Rewrite
from wavelet.rules.applying import Outcome
from wavelet.rules.model import Asking
from wavelet.rules.site_rules import SiteRules


class EffectivePlans:
    """Applies the rules that a site writes: to the plan with its names read, and before what its settings say."""

    def __init__(self, rules: SiteRules, reading: Sequence[Rewrite] = (), settings: Sequence[Rewrite] = ()) -> None:
        self._rules = rules
        self._reading = reading
        self._settings = settings

    async def of(self, request: Request) -> Request:
        """Return a request with its effective plan, and with the names of the rules that have changed it.

        Raises:
            CallerError: a rule or a setting does not allow it, or a pack cannot be added.
            RulesUnread: the rules cannot be read.
        """
        plan, about = _rewritten(self._reading, request.asked), request.about
        if request.asking is not None:
            outcome = await self._rules.apply(plan, request.asking, request.packs)
            plan = outcome.plan
            notes = (*about.notes, *outcome.notes)
            about = msgspec.structs.replace(about, notes=notes, rules=outcome.applied)
        return replace(request, effective=_rewritten(self._settings, plan), about=about)

    async def explain(self, plan: Node, asking: Asking, packs: Sequence[str]) -> tuple[Outcome, str]:
        """Return what the rules would make of a plan, and the sentence by which they refuse it; empty: they do not.

        Raises:
            CallerError: it cannot be asked for.
            RulesUnread: the rules cannot be read.
        """
        return await self._rules.explain(_rewritten(self._reading, plan), asking, packs)

    async def admit(self, asked: Node, pinned: Node) -> None:
        """Return if the rules admit what an effective plan was pinned to.

        Raises:
            RuleRefused: a rule does not.
        """
        await self._rules.admit(asked, pinned)


def _rewritten(rewrites: Sequence[Rewrite], plan: Node) -> Node:
    for rewrite in rewrites:
        plan = rewrite(plan)
    return plan
