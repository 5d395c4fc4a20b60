"""Questions about images and registries that make nothing: an image's documents, and whether a login is taken."""

from __future__ import annotations

from wavelet.image.reference import Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity, Login
from wavelet.requests.audit import Audit
from wavelet.requests.documents import Documents, read_documents
from wavelet.resolve.resolver import Resolver
from wavelet.rules.model import Asking
from wavelet.rules.site_rules import SiteRules
from wavelet.upstream.client import Upstream


class Inspection:
    """See the module."""

    def __init__(self, resolver: Resolver, upstream: Upstream, audit: Audit, rules: SiteRules) -> None:
        self._resolver = resolver
        self._upstream = upstream
        self._audit = audit
        self._rules = rules

    async def documents(self, reference: Reference, platform: Platform | None, identity: Identity) -> Documents:
        """Return the documents of an image, for inspection, from where the rules of the site have it.

        Raises:
            WaveletError: why they cannot be had.
        """
        asking = Asking("inspect", "near-cache", identity.uid, has_platform=platform is not None)
        plan = (await self._rules.for_name(RegistryImage(reference, platform), asking)).plan
        return await self.documents_of(plan, str(reference), identity)

    async def documents_of(self, plan: Node, name: str, identity: Identity) -> Documents:
        """Return the documents of the image of a plan that is called `name`.

        Raises:
            WaveletError: why they cannot be had.
        """
        with self._audit.refusals(door="inspect", uid=identity.uid, name=name, plan=plan):
            documents = await read_documents(self._resolver, plan, name, identity)
        digest, principal = str(documents.descriptor.digest), identity.principal
        self._audit.note(
            "granted", door="inspect", uid=identity.uid, principal=principal, name=name, plan=plan, digest=digest
        )
        return documents

    async def check_login(self, host: str, login: Login) -> bool:
        """Tell whether a registry takes a login.

        Raises:
            CallerError: the host may not be asked.
            UpstreamError: it does not answer.
        """
        return await self._upstream.check_login(host, login)
