"""What a name has answered before: it is given again where the rules of now let who asks have it.

A client asks for a manifest by tag, and then by digest for that and for all that is in it. Rules may have changed since
the name answered, and are others for other users; so what is asked for by digest is judged as what it was answered for:
the digest of its image, or of an index with that, or a tag. One of them has to be allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import CondaName, LocalName, UpstreamName
from wavelet.front.registry.scope import Scope
from wavelet.front.registry.sif_plans import read_tag
from wavelet.image.image import Image
from wavelet.image.reference import Digest
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.packs.model import PackRefused
from wavelet.requests.served import ServedImages
from wavelet.rules.applying import RuleRefused


class GivenBefore:
    """See the module."""

    def __init__(self, served: ServedImages, plans: NamedPlans) -> None:
        self._served = served
        self._plans = plans

    async def check(self, scope: Scope, image: Image) -> None:
        """Return if who asks may have an image that a name has answered. A container request's always may.

        Raises:
            RuleRefused: a rule of the site does not allow it.
            RulesUnread: the rules cannot be read.
        """
        named = (scope.image or scope).named
        if scope.token is not None or not isinstance(named, CondaName | LocalName | UpstreamName):
            return
        if not self._plans.rules.restricts:
            return
        refused: RuleRefused | PackRefused | None = None
        for reference, digest in self._asked_by(scope, image):
            try:
                await self._judge(scope, named, reference, digest)
            except (RuleRefused, PackRefused) as error:
                refused = refused or error
            else:
                return
        if refused is not None:
            raise refused

    def _asked_by(self, scope: Scope, image: Image) -> Iterator[tuple[str | Digest | None, Digest]]:
        """Yield by what an image may have been asked for, each with the digest of what that is: at last by nothing."""
        digest = image.descriptor.digest
        is_upstream = scope.repository is not None and scope.image is None
        if is_upstream:
            yield digest, digest
        above = self._above(scope.name, image)
        tags = [(tag, each.descriptor.digest) for tag, each in self._served.tags(scope.name)]
        yield from ((tag, of) for tag, of in tags if of in above)
        if is_upstream:
            yield from ((of, of) for of in above if of != digest)
        elif not any(of in above for _, of in tags):
            yield None, digest

    def _above(self, name: str, image: Image) -> set[Digest]:
        """Return the digests of all that a name has answered in which an image is, and of the image."""
        found = {image.descriptor.digest}
        images = list(self._served.images(name))
        while more := {
            each.descriptor.digest
            for each in images
            if each.descriptor.digest not in found and any(digest in each.closure for digest in found)
        }:
            found |= more
        return found

    async def _judge(
        self, scope: Scope, named: CondaName | LocalName | UpstreamName, reference: str | Digest | None, digest: Digest
    ) -> None:
        if isinstance(reference, Digest):
            await self._plans.repository(scope, reference)
            return
        tag, platform = (reference, None) if reference is None or scope.image is None else read_tag(reference)
        plan = await self._plans.of(scope, named, tag or LATEST, platform)
        if tag is not None and scope.image is None and plan.named is not None:
            await self._plans.rules.admit(plan, plan.renamed(plan.named.at(digest)))
