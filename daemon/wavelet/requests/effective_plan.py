"""The effective plan of a request: what the rules and the settings of the site make of what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from wavelet.plan.node import Node
from wavelet.requests.request import Request, Rewrite
from wavelet.rules.site_rules import SiteRules


class EffectivePlans:
    """Applies the rules that a site writes, and then what its settings say."""

    def __init__(self, rules: SiteRules, settings: Sequence[Rewrite]) -> None:
        self._rules = rules
        self._settings = settings

    async def of(self, request: Request) -> Request:
        """Return a request with its effective plan, and with the names of the rules that have changed it.

        Raises:
            CallerError: a rule or a setting does not allow it, or a pack cannot be added.
            RulesUnread: the rules cannot be read.
        """
        plan, about = request.asked, request.about
        if request.asking is not None:
            if request.asking.form == "request":
                outcome = await self._rules.for_request(plan, request.asking, request.packs)
            else:
                outcome = await self._rules.for_name(plan, request.asking)
            plan = outcome.plan
            notes = (*about.notes, *outcome.notes)
            about = msgspec.structs.replace(about, notes=notes, rules=outcome.applied)
        for rewrite in self._settings:
            plan = rewrite(plan)
        return replace(request, effective=plan, about=about)

    async def admit(self, asked: Node, pinned: Node) -> None:
        """Return if the rules admit what an effective plan was pinned to.

        Raises:
            RuleRefused: a rule does not.
        """
        await self._rules.admit(asked, pinned)
