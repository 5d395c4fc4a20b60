"""Questions about images and registries that make nothing: an image's documents, and whether a login is taken."""

from __future__ import annotations

from collections.abc import Sequence

from wavelet.image.reference import Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity, Login
from wavelet.requests.admitting import Admitting
from wavelet.requests.audit import Audit
from wavelet.requests.documents import Documents, read_documents
from wavelet.requests.request import Rewrite
from wavelet.resolve.resolver import Resolver
from wavelet.rules.model import Asking, Form
from wavelet.rules.site_rules import SiteRules
from wavelet.upstream.client import Upstream


class Inspection:
    """See the module.

    Attributes:
        admitting: what judges an image that is answered under its own name.
    """

    def __init__(
        self, resolver: Resolver, upstream: Upstream, audit: Audit, rules: SiteRules, reading: Sequence[Rewrite] = ()
    ) -> None:
        """Take them; `reading` reads references that name this daemon, before rules see them."""
        self.admitting = Admitting(rules, resolver)
        self._reading = reading
        self._resolver = resolver
        self._upstream = upstream
        self._audit = audit
        self._rules = rules

    async def documents(self, reference: Reference, platform: Platform | None, identity: Identity) -> Documents:
        """Return the documents of an image, for inspection, from where the rules of the site have it.

        Raises:
            WaveletError: why they cannot be had.
        """
        asked: Node = RegistryImage(reference, platform)
        for rewrite in self._reading:
            asked = rewrite(asked)
        form: Form = "near-cache" if asked.named is not None else "conda"
        asking = Asking("inspect", form, identity.uid, has_platform=platform is not None)
        plan = (await self._rules.apply(asked, asking)).plan
        await self.admitting.check(plan, identity)
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
