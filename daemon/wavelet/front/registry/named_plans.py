"""The plans of names that are no container request's, as the rules of the site have them."""

from __future__ import annotations

from collections.abc import Callable

from wavelet.front.registry.names import CondaName, LocalName, UpstreamName
from wavelet.front.registry.plans import plan_of
from wavelet.front.registry.scope import Scope
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.kinds.conda.model.package_request import CondaDefaults
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Node
from wavelet.rules.model import Asking, Door, Form
from wavelet.rules.site_rules import SiteRules


class NamedPlans:
    """Makes plans of names, by `rules`. `site` returns the site's defaults of now."""

    def __init__(self, rules: SiteRules, site: Callable[[], CondaDefaults]) -> None:
        self.rules = rules
        self._site = site

    def check(self, name: CondaName) -> None:
        """Return if a path of packages can be read.

        Raises:
            InvalidName: it cannot.
        """
        plan_of(name, LATEST, self._site())

    async def of(
        self,
        scope: Scope,
        name: CondaName | LocalName | UpstreamName,
        reference: str | Digest,
        platform: Platform | None = None,
    ) -> Node:
        """Return the effective plan of a name and a tag, or a digest, for who pulls it.

        Raises:
            InvalidName: as `plan_of` has it.
            RuleRefused: a rule of the site does not allow it.
            WaveletError: the rules cannot be applied.
        """
        plan = plan_of(name, reference, self._site(), platform)
        return (await self.rules.apply(plan, asking_of(scope, name, platform))).plan

    async def repository(self, scope: Scope, digest: Digest | None = None) -> Repository | None:
        """Return where a near-cache name is asked for, or a digest of it; None for all other names.

        Raises:
            RuleRefused: a rule of the site does not allow it.
        """
        if scope.repository is None:
            return None
        plan = RegistryImage(Reference(scope.repository, digest=digest))
        assert isinstance(scope.named, UpstreamName), "it has a repository"
        found = (await self.rules.apply(plan, asking_of(scope, scope.named, None))).plan
        if digest is not None:
            await self.rules.admit(found, found)
        return found.repository


def asking_of(scope: Scope, name: CondaName | LocalName | UpstreamName, platform: Platform | None) -> Asking:
    """Return who pulls a name, and how, as rules see it."""
    door: Door = "registry" if scope.image is None else "sif"
    form: Form = "conda" if isinstance(name, CondaName) else "near-cache"
    return Asking(door, form, scope.uid, has_platform=platform is not None)
