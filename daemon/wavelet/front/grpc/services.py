"""The services behind the door, which the servicers call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wavelet.config import Settings
from wavelet.daemon_status import DaemonStatus
from wavelet.front.connections import Activity
from wavelet.front.registry.sif_plans import SifPlans
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.conda.service import PackageLocks
from wavelet.packs.library import PackLibrary
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.cache import Cache
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.inspection import Inspection
from wavelet.requests.mirroring import Mirroring
from wavelet.requests.prefetch import Prefetcher
from wavelet.resolve.resolver import Resolver
from wavelet.rules.site_rules import SiteRules
from wavelet.upstream.credentials import Logins


class Reloads(Protocol):
    """The settings of the daemon; see `wavelet.reload.reloader.Reloader`."""

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def file(self) -> str:
        """Where they are read; empty for nowhere."""

    async def reload(self) -> list[str]:
        """Read them again, and return the keys that have changed."""


@dataclass(frozen=True, slots=True)
class Services:
    """See the module.

    Attributes:
        requests, inspection, resolver, locks, cache, prefetcher, mirroring, logins, rules, activity: services by these
            names.
        site: the site's defaults of now.
        site_rules: the rules of the site.
        plans: those that they make of requests.
        sifs: makes plans of SIFs.
        state: what `GET /statusz` tells.
        reloads: the settings.
        audit: takes what is decided here.
        packs: the packs of this node.
    """

    requests: ContainerRequests
    inspection: Inspection
    resolver: Resolver
    locks: PackageLocks
    cache: Cache
    prefetcher: Prefetcher
    mirroring: Mirroring
    logins: Logins
    rules: AccessRules
    activity: Activity
    site: Callable[[], CondaDefaults]
    site_rules: SiteRules
    plans: EffectivePlans
    sifs: SifPlans
    state: Callable[[], DaemonStatus]
    reloads: Reloads
    audit: Audit
    packs: PackLibrary
