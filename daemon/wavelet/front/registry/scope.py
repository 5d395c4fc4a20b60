"""What a repository name opens to a caller: who reads, the images that the name has answered, and their content."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from wavelet.errors import BlobNotFound, ImageNotFound, InvalidName
from wavelet.front.registry.names import TokenName, UpstreamName
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromUpstream, Image
from wavelet.image.manifest import ACCEPTED_TYPES
from wavelet.image.reference import Reference, Repository
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.names import served_as, source_of
from wavelet.plan.plan import FromRegistry, Plan
from wavelet.resolve.access import AccessRules, Caller
from wavelet.resolve.memo import Answers
from wavelet.resolve.requests import ContainerRequests, answer_name
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import Blob, ContentStore
from wavelet.upstream.client import Upstream

REFERRERS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Scope:
    """A name as one caller sees it.

    Attributes:
        name: the key under which its answers are remembered.
        identity: who reads.
        plan: what a token stands for; None for a near-cache name.
        tag: the one tag that a token answers; None where any may be asked for.
        repository: the upstream's repository of a near-cache name; of a token, the one its plan begins with.
    """

    name: str
    identity: Identity
    plan: Plan | None
    tag: str | None
    repository: Repository


@dataclass(frozen=True, slots=True)
class Located:
    """A blob that a name contains: its size in bytes where that is known, and what it is in which image, if in one."""

    digest: Digest
    size: int | None
    content: Content | None


class Scopes:
    """Opens names. The registry's routes ask it, and turn what it returns into HTTP."""

    def __init__(
        self,
        resolver: Resolver,
        requests: ContainerRequests,
        answers: Answers,
        store: ContentStore,
        upstream: Upstream,
        rules: AccessRules,
        *,
        lease: float,
    ) -> None:
        self._resolver = resolver
        self._requests = requests
        self._answers = answers
        self._store = store
        self._upstream = upstream
        self._rules = rules
        self._lease = lease
        self._referrers: OrderedDict[tuple[str, Digest], None] = OrderedDict()

    async def open(self, name: TokenName | UpstreamName, caller: Caller) -> Scope:
        """Return what `name` opens to `caller`.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName: the path behind the token is not the request's.
        """
        if isinstance(name, UpstreamName):
            return Scope(str(name.repository), self._rules.pulling(caller), None, None, name.repository)
        request = await self._requests.request(name.token)
        repository, tag = source_of(request.plan).repository, served_as(request.plan)
        if repository.path != name.path:
            raise InvalidName(f"the token is for {repository.path}, not for {name.path}")
        identity = self._rules.pulling_token(caller, request.principal)
        return Scope(
            answer_name(name.token), identity, request.plan, None if isinstance(tag, Digest) else tag, repository
        )

    # -- manifests ----------------------------------------------------------------------------------------------------

    async def tagged(self, scope: Scope, tag: str) -> Content:
        """Return the manifest that a tag names, made if need be.

        Raises:
            WaveletError: why there is none.
        """
        if scope.plan is None:
            return await self._answer(scope, FromRegistry(Reference(scope.repository, tag)))
        if tag != scope.tag:
            raise ImageNotFound(f"this name has the tag {scope.tag or '(none, only a digest)'}, not {tag[:128]!r}")
        return await self._answer(scope, scope.plan)

    async def manifest(self, scope: Scope, digest: Digest) -> Content:
        """Return a manifest by digest: one that the name has answered, or belongs to one that it has.

        Raises:
            WaveletError: why there is none.
        """
        found = await self._named(scope, digest)
        if found is None:
            if scope.plan is not None and (scope.name, digest) not in self._referrers:
                raise ImageNotFound(f"this name contains no manifest {digest}")
            return await self._answer(scope, FromRegistry(Reference(scope.repository, digest=digest)))
        image, content = found
        if content.descriptor.digest != image.descriptor.digest and isinstance(content.source, FromUpstream):
            return await self._member(scope, content, content.source.repository)
        self._touch(image)
        return content

    async def _answer(self, scope: Scope, plan: Plan) -> Content:
        key, image = await self._resolver.realise(plan, scope.identity)
        self._answers.put(scope.name, key)
        self._touch(image)
        return image.closure[image.descriptor.digest]

    async def _member(self, scope: Scope, content: Content, repository: Repository) -> Content:
        """Answer an index's manifest, so that what it names in turn belongs to the name as well."""
        if content.descriptor.media_type not in ACCEPTED_TYPES:
            raise ImageNotFound(f"{content.descriptor.digest} is a blob, not a manifest")
        plan = FromRegistry(Reference(repository, digest=content.descriptor.digest))
        key = key_of(plan)
        image = await self._resolver.make(plan, key, scope.identity)
        self._answers.put(scope.name, key)
        self._touch(image)
        return image.closure[image.descriptor.digest]

    async def _find(self, scope: Scope, digest: Digest) -> tuple[Image, Content] | None:
        found = self._answers.find(scope.name, digest)
        if found is not None:
            await self._resolver.may_read(found[0], scope.identity)
        return found

    async def _named(self, scope: Scope, digest: Digest) -> tuple[Image, Content] | None:
        """Find `digest` in what the name has answered; a token that has answered nothing on this node answers first."""
        found = await self._find(scope, digest)
        if found is None and scope.plan is not None:
            await self._answer(scope, scope.plan)
            found = await self._find(scope, digest)
        return found

    def _touch(self, image: Image) -> None:
        self._store.lease(image.closure, time.time() + self._lease)

    async def document(self, scope: Scope, content: Content) -> bytes:
        """Return a manifest's bytes.

        Raises:
            WaveletError: they cannot be had.
        """
        return await self._resolver.read(content, scope.identity)

    # -- blobs --------------------------------------------------------------------------------------------------------

    async def locate(self, scope: Scope, digest: Digest) -> Located:
        """Say where a blob of the name is.

        Raises:
            BlobNotFound: it belongs to no image that the name has answered, nor to the upstream's repository.
            WaveletError: why that cannot be told.
        """
        found = await self._named(scope, digest)
        if found is not None:
            image, content = found
            self._touch(image)
            return Located(digest, content.descriptor.size, content)
        if scope.plan is not None:
            raise BlobNotFound(f"this name contains no blob {digest}")
        return Located(digest, await self._resolver.size_unnamed(scope.repository, digest, scope.identity), None)

    async def blob(self, scope: Scope, located: Located) -> Blob:
        """Return a located blob, committed or growing.

        Raises:
            WaveletError: why it cannot be had.
        """
        if located.content is not None:
            return await self._resolver.open(located.content, scope.identity)
        return await self._resolver.open_unnamed(scope.repository, located.digest, located.size, scope.identity)

    # -- discovery ----------------------------------------------------------------------------------------------------

    async def tags(self, scope: Scope, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """Return a page of tags, and whether there are more: of a token its own only.

        Raises:
            WaveletError: why there is none.
        """
        if scope.plan is None:
            return await self._upstream.tags(scope.repository, scope.identity, n, last)
        await self._resolver.realise(scope.plan, scope.identity)
        own = [tag for tag in (scope.tag,) if tag is not None and (last is None or tag > last)]
        return (own[:n], len(own) > n) if n is not None else (own, False)

    async def referrers(self, scope: Scope, digest: Digest) -> list[dict[str, Any]]:
        """Return the descriptors of what refers to a manifest: the upstream's, but none for what was made here.

        Raises:
            WaveletError: why they cannot be had.
        """
        repository = scope.repository
        if scope.plan is not None:
            _, content = await self._named(scope, digest) or (None, None)
            if content is None or not isinstance(content.source, FromUpstream):
                return []
            repository = content.source.repository
        found = await self._upstream.referrers(repository, digest, scope.identity)
        if scope.plan is not None:
            self._remember_referrers(scope, found)
        return found

    def _remember_referrers(self, scope: Scope, found: list[dict[str, Any]]) -> None:
        # What a name has told of, it hands out; after a restart a client has to ask for the list again.
        for descriptor in found:
            self._referrers[scope.name, Digest(descriptor["digest"])] = None
            if len(self._referrers) > REFERRERS_REMEMBERED:
                self._referrers.popitem(last=False)
