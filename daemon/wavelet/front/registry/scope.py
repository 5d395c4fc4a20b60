"""The scope of a repository name for a caller: who reads, the images that the name has answered, and their content."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from wavelet.config import Apply, Settings
from wavelet.errors import BlobNotFound, ImageNotFound, InvalidName, Unsolvable, WaveletError
from wavelet.front.registry.names import CondaName, TokenName, UpstreamName
from wavelet.front.registry.plans import plan_of
from wavelet.image.digest import Digest
from wavelet.image.image import Content, FromUpstream, Image, MadeBy
from wavelet.image.manifest import ACCEPTED_TYPES, OCI_MANIFEST
from wavelet.image.platform import Platform
from wavelet.image.reference import Reference, Repository
from wavelet.kinds.conda.model.asked import CondaDefaults
from wavelet.kinds.conda.model.near_cache_names import LATEST
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.names import is_called, path_of, tag_of
from wavelet.plan.node import Node
from wavelet.requests.access import AccessRules, Caller
from wavelet.requests.container_request import answer_name
from wavelet.requests.patience import Patience
from wavelet.requests.pulls import RequestPulls
from wavelet.requests.served import ServedImages
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.unnamed_blobs import UnnamedBlobs
from wavelet.store.content import Blob, ContentStore
from wavelet.upstream.client import Upstream
from wavelet.upstream.listing import Referrers

REFERRERS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Scope:
    """A name as one caller sees it.

    Attributes:
        name: the key under which its answers are remembered.
        identity: who reads.
        plan: what a token stands for; None for all other names.
        tag: the one tag that a token answers; None where any may be asked for.
        named: what a name without a token stands for.
        token: of the container request, where it is one's.
    """

    name: str
    identity: Identity
    plan: Node | None
    tag: str | None
    named: CondaName | UpstreamName | None = None
    token: str | None = None

    @property
    def repository(self) -> Repository | None:
        """The upstream's repository of a near-cache name; None for all other names."""
        return self.named.repository if isinstance(self.named, UpstreamName) else None

    def pulled(self, tag: str | None, image: Image) -> str:
        """Return by which reference, without the authority, an image of the name is pulled: a tag, else its digest."""
        path = self.name if self.plan is None else f"{self.name}/{path_of(self.plan)}"
        return f"{path}@{image.descriptor.digest}" if tag is None else f"{path}:{tag}"


@dataclass(frozen=True, slots=True)
class Located:
    """A blob that a name contains: its size in bytes where that is known, and what it is in which image, if in one."""

    digest: Digest
    size: int | None
    content: Content | None


class RegistryService:
    """Opens names. The registry's routes ask it, and turn what it returns into HTTP.

    `site` returns the site's defaults of now.
    """

    def __init__(
        self,
        resolver: Resolver,
        unnamed: UnnamedBlobs,
        pulls: RequestPulls,
        served: ServedImages,
        store: ContentStore,
        upstream: Upstream,
        rules: AccessRules,
        site: Callable[[], CondaDefaults],
        patience: Patience,
        settings: Settings,
    ) -> None:
        self._resolver = resolver
        self._unnamed = unnamed
        self._pulls = pulls
        self._served = served
        self._store = store
        self._upstream = upstream
        self._rules = rules
        self._site = site
        self._patience = patience
        self.configure(settings)()
        self._referrers: LRUCache[tuple[str, Digest], Repository] = LRUCache(REFERRERS_REMEMBERED)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: for how many seconds an answered image is safe from eviction."""

        def apply() -> None:
            self._lease = settings.store.lease

        return apply

    async def open(self, name: TokenName | CondaName | UpstreamName, caller: Caller) -> Scope:
        """Return what `name` opens to `caller`.

        Raises:
            TokenNotFound: no such request.
            AccessRefused: it is another user's.
            InvalidName: the path behind the token is not the request's.
        """
        if isinstance(name, UpstreamName):
            return Scope(str(name.repository), self._rules.pull_identity(caller), None, None, name)
        if isinstance(name, CondaName):
            return Scope(f"conda/{name.path}", self._rules.pull_identity(caller), None, None, name)
        request = await self._pulls.request(name.token)
        if not is_called(name.path, request.plan):
            raise InvalidName(f"the token is for {path_of(request.plan)}, not for {name.path}")
        identity = self._rules.token_identity(caller, request.principal)
        tag = tag_of(request.plan, name.path)
        return Scope(answer_name(name.token), identity, request.plan, tag, token=name.token)

    # -- manifests ----------------------------------------------------------------------------------------------------

    async def get_tag(self, scope: Scope, tag: str) -> Content:
        """Return the manifest that a tag names, made if need be.

        Raises:
            WaveletError: why there is none.
        """
        if isinstance(scope.named, CondaName):
            return await self._packages(scope, scope.named, tag)
        if scope.plan is None:
            assert scope.named is not None
            return await self._answer(scope, plan_of(scope.named, tag, self._site()), tag)
        if tag != scope.tag:
            raise ImageNotFound(f"this name has the tag {scope.tag or '(none, only a digest)'}, not {tag[:128]!r}")
        return await self._answer(scope, scope.plan)

    async def _packages(self, scope: Scope, name: CondaName, tag: str) -> Content:
        """Answer a name of packages; a tag that stands for no version of them is one that is not there."""
        plan_of(name, LATEST, self._site())  # a path that is no name is refused as such
        try:
            return await self._answer(scope, plan_of(name, tag, self._site()), tag)
        except (InvalidName, Unsolvable) as error:
            raise ImageNotFound(error.message, field=error.field) from None

    async def manifest(self, scope: Scope, digest: Digest) -> Content:
        """Return a manifest by digest: one that the name has answered, or belongs to one that it has.

        Raises:
            WaveletError: why there is none.
        """
        found = await self._named(scope, digest)
        if found is None:
            repository = scope.repository or self._referrers.get((scope.name, digest))
            if repository is None:
                raise ImageNotFound(f"this name contains no manifest {digest}")
            return await self._answer(scope, RegistryImage(Reference(repository, digest=digest)))
        image, content = found
        if content.descriptor.digest != image.descriptor.digest and isinstance(content.source, FromUpstream):
            return await self._member(scope, content, content.source.repository)
        self._touch(image)
        return content

    async def looked_into(self, scope: Scope, index: Content, platform: Platform) -> Content:
        """Return the manifest for `platform` that lies deeper in an index of an upstream; without one, the index."""
        if not isinstance(index.source, FromUpstream):
            return index
        reference = Reference(index.source.repository, digest=index.descriptor.digest)
        try:
            return await self._answer(scope, RegistryImage(reference, platform))
        except ImageNotFound:
            return index

    async def _answer(self, scope: Scope, plan: Node, tag: str | None = None) -> Content:
        if scope.token is None:
            key, image = await self._resolver.realise(plan, scope.identity)
        else:
            # Clients that know no status pull what was asked for at once: they wait here as others wait for that.
            key, image = await self._patience.ask(lambda: self._realised(scope, plan))
        self._served.put(scope.name, key, scope.pulled(tag or scope.tag, image))
        if tag is not None and isinstance(scope.named, CondaName):
            self._served.tag(scope.name, tag, key)
        self._touch(image)
        return image.closure[image.descriptor.digest]

    async def _realised(self, scope: Scope, plan: Node) -> tuple[str, Image]:
        if scope.token is not None and plan is scope.plan:
            return await self._pulls.realise(scope.token, scope.identity)
        return await self._resolver.realise(plan, scope.identity)

    async def _member(self, scope: Scope, content: Content, repository: Repository) -> Content:
        """Answer an index's manifest, so that what it names in turn belongs to the name as well."""
        if content.descriptor.media_type not in ACCEPTED_TYPES:
            raise ImageNotFound(f"{content.descriptor.digest} is a blob, not a manifest")
        plan = RegistryImage(Reference(repository, digest=content.descriptor.digest))
        key = key_of(plan)
        image = await self._resolver.make(plan, key, scope.identity)
        self._served.put(scope.name, key, scope.pulled(None, image))
        self._touch(image)
        return image.closure[image.descriptor.digest]

    async def _find(self, scope: Scope, digest: Digest) -> tuple[Image, Content] | None:
        found = self._served.find(scope.name, digest)
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
        if scope.repository is None:
            raise BlobNotFound(f"this name contains no blob {digest}")
        return Located(digest, await self._unnamed.size(scope.repository, digest, scope.identity), None)

    async def blob(self, scope: Scope, located: Located) -> Blob:
        """Return a located blob, committed or partial.

        Raises:
            WaveletError: why it cannot be had.
        """
        if located.content is not None:
            return await self._resolver.open(located.content, scope.identity)
        assert scope.repository is not None, "any other name's blobs are known by what they are in"
        return await self._unnamed.open(scope.repository, located.digest, located.size, scope.identity)

    # -- discovery ----------------------------------------------------------------------------------------------------

    async def tags(self, scope: Scope, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """Return a page of tags, and whether there are more: of a token its own, of packages what was answered here.

        Raises:
            WaveletError: why there is none.
        """
        if scope.repository is not None:
            return await self._upstream.tags(scope.repository, scope.identity, n, last)
        if scope.token is not None:
            await self._pulls.realise(scope.token, scope.identity)
        every = [scope.tag] if scope.tag is not None else []
        if isinstance(scope.named, CondaName):
            every = await self._tags_answered(scope)
        rest = [tag for tag in every if last is None or tag > last]
        return (rest[:n], len(rest) > n) if n is not None else (rest, False)

    async def _tags_answered(self, scope: Scope) -> list[str]:
        """Return `latest`, and the tags of packages that were answered, if the caller may read their images."""
        found = {LATEST}
        for tag, image in self._served.tags(scope.name):
            with contextlib.suppress(WaveletError):
                await self._resolver.may_read(image, scope.identity)
                found.add(tag)
        return sorted(found)

    async def referrers(self, scope: Scope, digest: Digest) -> Referrers:
        """Return what refers to a manifest: the upstream's list, or what was made along with it here.

        Raises:
            WaveletError: why they cannot be had.
        """
        if scope.repository is not None:
            return await self._upstream.referrers(scope.repository, digest, scope.identity)
        found = await self._named(scope, digest)
        if found is None:
            return Referrers([])
        image, content = found
        if not isinstance(content.source, FromUpstream):
            return Referrers(await self._attached(image, digest, scope.identity))
        referrers = await self._upstream.referrers(content.source.repository, digest, scope.identity)
        self._remember_referrers(scope, content.source.repository, referrers.descriptors)
        return referrers

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
