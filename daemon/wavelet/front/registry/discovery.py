"""The content discovery of a name: its tags, and what refers to its manifests."""

from __future__ import annotations

import contextlib
import json

from cachetools import LRUCache

from wavelet.errors import WaveletError
from wavelet.front.registry.images import NamedImages
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import CondaName, FrozenName
from wavelet.front.registry.scope import Scope
from wavelet.image.image import OCI_MANIFEST, FromUpstream, Image, MadeBy
from wavelet.image.reference import Digest, Repository
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.plan.delivery import token_of
from wavelet.plan.tokens import Identity
from wavelet.requests.container_requests import ContainerRequests
from wavelet.requests.served import ServedImages
from wavelet.resolve.resolver import Resolver
from wavelet.upstream.client import Upstream
from wavelet.upstream.listing import Referrers

REFERRERS_REMEMBERED = 10_000


class Discovery:
    """Tells what there is."""

    def __init__(
        self,
        images: NamedImages,
        resolver: Resolver,
        requests: ContainerRequests,
        served: ServedImages,
        upstream: Upstream,
        plans: NamedPlans,
    ) -> None:
        self._images = images
        self._resolver = resolver
        self._pulls = requests.pulls
        self._served = served
        self._upstream = upstream
        self._plans = plans
        self._has_asked = requests.lookup.has_asked
        self._referrers: LRUCache[tuple[str, Digest], Repository] = LRUCache(REFERRERS_REMEMBERED)

    async def tags(self, scope: Scope, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """Return a page of tags, and whether there are more: of a token its own, of packages what was answered here,
        and of frozen images those that the caller has asked for here.

        Raises:
            WaveletError: why there is none.
        """
        repository = await self._plans.repository(scope)
        if repository is not None:
            return await self._upstream.tags(repository, scope.identity, n, last)
        if scope.token is not None:
            await self._pulls.realise(scope.token, scope.identity)
        every = [scope.tag] if scope.tag is not None else []
        if isinstance(scope.named, CondaName):
            every = sorted({LATEST} | await self._tags_answered(scope))
        elif isinstance(scope.named, FrozenName):
            every = sorted(await self._tags_asked_for(scope, scope.named.path))
        rest = [tag for tag in every if last is None or tag > last]
        return (rest[:n], len(rest) > n) if n is not None else (rest, False)

    async def _tags_answered(self, scope: Scope) -> set[str]:
        """Return the tags that were answered of a name which has many, if the caller may read their images."""
        return {tag for tag, image in self._served.tags(scope.name) if await self._may_read(image, scope)}

    async def _tags_asked_for(self, scope: Scope, path: str) -> set[str]:
        """Return the tags of frozen images that the caller has asked for: who has a tag has what is in its image."""
        return {
            tag
            for tag, image in self._served.frozen.images(path)
            if self._has_asked(token_of(tag), scope.identity) and await self._may_read(image, scope)
        }

    async def _may_read(self, image: Image, scope: Scope) -> bool:
        with contextlib.suppress(WaveletError):
            await self._resolver.may_read(image, scope.identity)
            return True
        return False

    async def referrers(self, scope: Scope, digest: Digest) -> Referrers:
        """Return what refers to a manifest: the upstream's list, or what was made along with it here.

        Raises:
            WaveletError: why they cannot be had.
        """
        repository = await self._plans.repository(scope, digest)
        if repository is not None:
            return await self._upstream.referrers(repository, digest, scope.identity)
        found = await self._images.find(scope, digest)
        if found is None:
            return Referrers([])
        image, content = found
        if not isinstance(content.source, FromUpstream):
            return Referrers(await self._attached(image, digest, scope.identity))
        referrers = await self._upstream.referrers(content.source.repository, digest, scope.identity)
        self._remember_referrers(scope, content.source.repository, referrers.descriptors)
        return referrers

    def repository_of(self, scope: Scope, digest: Digest) -> Repository | None:
        """Return where a referrer is that the name has told of."""
        return self._referrers.get((scope.name, digest))

    async def _attached(self, image: Image, digest: Digest, identity: Identity) -> list[dict[str, object]]:
        """Return the artifacts of a closure whose subject is `digest` (distribution-spec, "Listing Referrers")."""
        found = []
        for content in image.contents:
            if content.descriptor.media_type == OCI_MANIFEST and isinstance(content.source, MadeBy):
                document = json.loads(await self._resolver.read(content, identity))
                if document.get("subject", {}).get("digest") == digest:
                    shown = {name: document[name] for name in ("artifactType", "annotations") if name in document}
                    found.append(content.descriptor.as_json() | shown)
        return found

    def _remember_referrers(self, scope: Scope, repository: Repository, found: list[dict[str, object]]) -> None:
        # What a name has told of, it hands out; after a restart a client has to ask for the list again.
        for descriptor in found:
            self._referrers[scope.name, Digest(descriptor["digest"])] = repository
