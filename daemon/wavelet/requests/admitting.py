"""Images that are answered under their own names, judged by what they are pinned to, before they are given."""

from __future__ import annotations

from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.resolve.resolver import Resolver
from wavelet.rules.site_rules import SiteRules


class Admitting:
    """See the module."""

    def __init__(self, rules: SiteRules, resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver

    async def check(self, plan: Node, identity: Identity) -> None:
        """Return if the rules admit what the effective plan of a name is pinned to now.

        Raises:
            RuleRefused: a rule does not.
            WaveletError: it cannot be pinned.
        """
        if self._rules.admits:
            await self._rules.admit(plan, (await self._resolver.pinned(plan, identity)).plan)
