"""The registry's content: manifests and blobs of names. The routes ask for it, and turn what they get into HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.errors import BlobNotFound, ImageNotFound, InvalidName, Unsolvable
from wavelet.front.registry.discovery import Discovery
from wavelet.front.registry.images import NamedImages
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import CondaName, UpstreamName
from wavelet.front.registry.scope import Scope
from wavelet.image.image import Content, FromUpstream
from wavelet.image.reference import Digest, Platform, Reference
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.unnamed_blobs import UnnamedBlobs
from wavelet.store.content import Blob
from wavelet.upstream.listing import Referrers


@dataclass(frozen=True, slots=True)
class Located:
    """A blob that a name contains: its size in bytes where that is known, and what it is in which image, if in one."""

    digest: Digest
    size: int | None
    content: Content | None


class RegistryService:
    """Gives manifests and blobs. `plans` are those of names."""

    def __init__(
        self,
        images: NamedImages,
        discovery: Discovery,
        resolver: Resolver,
        unnamed: UnnamedBlobs,
        plans: NamedPlans,
    ) -> None:
        self._images = images
        self._discovery = discovery
        self._resolver = resolver
        self._unnamed = unnamed
        self._plans = plans

    async def get_tag(self, scope: Scope, tag: str) -> Content:
        """Return the manifest that a tag names, made if need be.

        Raises:
            WaveletError: why there is none.
        """
        if isinstance(scope.named, CondaName):
            return await self._packages(scope, scope.named, tag)
        if scope.plan is None:
            assert isinstance(scope.named, UpstreamName)
            return await self._images.answer(scope, await self._plans.of(scope, scope.named, tag), tag)
        if tag != scope.tag:
            raise ImageNotFound(f"this name has the tag {scope.tag or '(none, only a digest)'}, not {tag[:128]!r}")
        return await self._images.answer(scope, scope.plan)

    async def _packages(self, scope: Scope, name: CondaName, tag: str) -> Content:
        """Answer a name of packages; a tag that stands for no version of them is one that is not there."""
        self._plans.check(name)  # a path that is no name is refused as such
        try:
            return await self._images.answer(scope, await self._plans.of(scope, name, tag), tag)
        except (InvalidName, Unsolvable) as error:
            raise ImageNotFound(error.message, field=error.field) from None

    async def manifest(self, scope: Scope, digest: Digest) -> Content:
        """Return a manifest by digest: one that the name has answered, or belongs to one that it has.

        Raises:
            WaveletError: why there is none.
        """
        found = await self._images.find(scope, digest)
        if found is None:
            repository = await self._plans.repository(scope, digest) or self._discovery.repository_of(scope, digest)
            if repository is None:
                raise ImageNotFound(f"this name contains no manifest {digest}")
            return await self._images.answer(scope, RegistryImage(Reference(repository, digest=digest)))
        image, content = found
        if content.descriptor.digest != image.descriptor.digest and isinstance(content.source, FromUpstream):
            return await self._images.answer_member(scope, content, content.source.repository)
        self._images.touch(image)
        return content

    async def looked_into(self, scope: Scope, index: Content, platform: Platform) -> Content:
        """Return the manifest for `platform` that lies deeper in an index of an upstream; without one, the index."""
        if not isinstance(index.source, FromUpstream):
            return index
        reference = Reference(index.source.repository, digest=index.descriptor.digest)
        try:
            return await self._images.answer(scope, RegistryImage(reference, platform))
        except ImageNotFound:
            return index

    async def tags(self, scope: Scope, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """See `Discovery.tags`."""
        return await self._discovery.tags(scope, n, last)

    async def referrers(self, scope: Scope, digest: Digest) -> Referrers:
        """See `Discovery.referrers`."""
        return await self._discovery.referrers(scope, digest)

    async def document(self, scope: Scope, content: Content) -> bytes:
        """Return a manifest's bytes.

        Raises:
            WaveletError: they cannot be had.
        """
        return await self._resolver.read(content, scope.identity)

    async def locate(self, scope: Scope, digest: Digest) -> Located:
        """Say where a blob of the name is.

        Raises:
            BlobNotFound: it belongs to no image that the name has answered, nor to the upstream's repository.
            WaveletError: why that cannot be told.
        """
        found = await self._images.find(scope, digest)
        if found is not None:
            image, content = found
            self._images.touch(image)
            return Located(digest, content.descriptor.size, content)
        repository = await self._plans.repository(scope, digest)
        if repository is None:
            raise BlobNotFound(f"this name contains no blob {digest}")
        return Located(digest, await self._unnamed.size(repository, digest, scope.identity), None)

    async def blob(self, scope: Scope, located: Located) -> Blob | JoinedBlob:
        """Return a located blob, committed or partial.

        Raises:
            WaveletError: why it cannot be had.
        """
        if located.content is not None:
            return await self._resolver.open_to_send(located.content, scope.identity)
        repository = await self._plans.repository(scope, located.digest)
        assert repository is not None, "any other name's blobs are known by what they are in"
        return await self._unnamed.open(repository, located.digest, located.size, scope.identity)
