"""What the site decides for all containers, built: its rules, and its packs."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.front.registry.own_names import OwnReferences
from wavelet.hosted.own_registry import own_authorities
from wavelet.packs.model import Pack, PackRefused
from wavelet.requests.request import Rewrite
from wavelet.rules.model import RuleSet
from wavelet.rules.site_rules import SiteRules
from wavelet.wiring.images import CondaServices
from wavelet.wiring.state import NodeState


@dataclass(frozen=True, slots=True)
class SiteServices:
    """The rules of the site, with its packs, and how plans are read before rules see them."""

    rules: SiteRules
    reading: tuple[Rewrite, ...]


class _NoPacks:
    def get(self, name: str, version: str | None = None) -> Pack:
        raise PackRefused(f"there is no pack {name}", field="packs")


def build_site(state: NodeState, conda: CondaServices) -> SiteServices:
    """Build the services of a site."""
    own = OwnReferences(own_authorities(state.settings), conda.site)
    return SiteServices(SiteRules(RuleSet, _NoPacks()), (own,))
