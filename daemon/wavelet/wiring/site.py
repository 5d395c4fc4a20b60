"""What the site decides for all containers, built: its rules, and its packs."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.packs.model import Pack, PackRefused
from wavelet.rules.model import RuleSet
from wavelet.rules.site_rules import SiteRules


@dataclass(frozen=True, slots=True)
class SiteServices:
    """The rules of the site, with its packs."""

    rules: SiteRules


class _NoPacks:
    def get(self, name: str, version: str | None = None) -> Pack:
        raise PackRefused(f"there is no pack {name}", field="packs")


def build_site() -> SiteServices:
    """Build the services of a site."""
    return SiteServices(SiteRules(RuleSet, _NoPacks()))
