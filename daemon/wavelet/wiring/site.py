"""What the site decides for all containers, built: its rules, and its packs."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.front.registry.own_names import OwnReferences
from wavelet.hosted.own_registry import own_authorities
from wavelet.packs.library import PackLibrary
from wavelet.requests.pack_locations import PackLocations
from wavelet.requests.request import Rewrite
from wavelet.rules.directory import RulesDirectory
from wavelet.rules.site_rules import SiteRules
from wavelet.upkeep import Upkeep
from wavelet.wiring.images import CondaServices
from wavelet.wiring.state import NodeState


@dataclass(frozen=True, slots=True)
class SiteServices:
    """The rules of the site, with its packs, and how plans are read before rules see them."""

    rules: SiteRules
    reading: tuple[Rewrite, ...]


async def build_site(state: NodeState, conda: CondaServices, packs: PackLibrary, upkeep: Upkeep) -> SiteServices:
    """Build the services of a site."""
    own = OwnReferences(own_authorities(state.settings), conda.site)
    located = PackLocations(state.settings)
    directory = RulesDirectory(state.settings)
    upkeep.add_configurable(located, directory)
    if state.settings.watch:
        await upkeep.stack.enter_async_context(directory.watched())
    return SiteServices(SiteRules(lambda: directory.current, packs, packs.settled, own.hosts), (own, located))
