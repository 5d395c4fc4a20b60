"""The content of `sif/` names: the image that another name answers, as a SIF.

It is found by digest in what the `sif/` name itself has answered: neither does the image's name hand out its SIF, nor
the other way round.
"""

from __future__ import annotations

from wavelet.errors import BlobNotFound, ImageNotFound, InvalidName, Unsolvable, UpstreamBroken
from wavelet.front.registry.images import NamedImages
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import CondaName, LocalName, UpstreamName
from wavelet.front.registry.scope import Scope
from wavelet.front.registry.service import Located
from wavelet.front.registry.sif_plans import SifPlans, read_tag, write_tag
from wavelet.image.image import Content, MalformedManifest, parse_document
from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.model.near_cache_names import path_for_platform
from wavelet.kinds.sif.manifest import file_in
from wavelet.plan.node import Node
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import Blob
from wavelet.upstream.listing import Referrers


class SifNames:
    """See `wavelet.front.registry.service.RegistryService` for each method. `named` makes plans of names."""

    def __init__(self, images: NamedImages, resolver: Resolver, plans: SifPlans, named: NamedPlans) -> None:
        self._images = images
        self._resolver = resolver
        self._plans = plans
        self._named = named

    async def get_tag(self, scope: Scope, tag: str) -> Content:
        """Return the manifest of the SIF that a tag names, made if need be.

        Raises:
            WaveletError: why there is none.
        """
        return await self.of_image(scope, *read_tag(tag))

    async def of_image(self, scope: Scope, reference: str | Digest, platform: Platform | None) -> Content:
        """Return the manifest of the SIF of an image, by that one's tag or digest, for a platform if one is asked for.

        Raises:
            WaveletError: why there is none.
        """
        if scope.plan is not None and reference != scope.tag and not isinstance(reference, Digest):
            raise ImageNotFound(f"this name has the tag {scope.tag}, not {reference[:128]!r}")
        tag = None if isinstance(reference, Digest) else write_tag(reference, platform)
        if scope.image is not None and scope.plan is not None:
            digest = reference if isinstance(reference, Digest) else None
            return await self._answer(scope, await self._images.bound(scope.image, digest), platform, tag)
        named = scope.image and scope.image.named
        assert isinstance(named, CondaName | LocalName | UpstreamName), "a frozen name has a tag, and so a plan"
        if not isinstance(named, CondaName):
            return await self._answer(scope, await self._named.of(scope, named, reference, platform), platform, tag)
        self._named.check(named)  # a path that is no name is refused as such
        if platform is not None:
            named = CondaName(path_for_platform(named.path, platform))
        try:
            return await self._answer(scope, await self._named.of(scope, named, reference), platform, tag)
        except (InvalidName, Unsolvable) as error:
            raise ImageNotFound(error.message, field=error.field) from None

    async def of_file(self, scope: Scope, file: Node) -> Content:
        """Return the manifest of a file that others publish, fetched if need be.

        Raises:
            WaveletError: why there is none.
        """
        return await self._images.answer(scope, file)

    async def _answer(self, scope: Scope, image: Node, platform: Platform | None, tag: str | None) -> Content:
        return await self._images.answer(scope, self._plans.of(image, platform), tag)

    async def manifest(self, scope: Scope, digest: Digest) -> Content:
        """Return a manifest by digest: one that the name has answered.

        Raises:
            WaveletError: why there is none.
        """
        found = await self._find(scope, digest)
        if found is None:
            raise ImageNotFound(
                f"{scope.path} has answered no SIF {digest}: pull it by its tag first. A SIF has another digest than "
                f"its image; that of an image gives its SIF as a file, at /{scope.path}@{digest}.sif"
            )
        return found

    async def _find(self, scope: Scope, digest: Digest) -> Content | None:
        found = await self._images.answered(scope, digest)
        if found is None and scope.plan is not None:
            # Another node may have answered it, by the one tag that a request's name has.
            await self.of_image(scope, scope.tag or "", None)
            found = await self._images.answered(scope, digest)
        if found is None:
            return None
        self._images.touch(found[0])
        return found[1]

    async def looked_into(self, scope: Scope, index: Content, platform: Platform) -> Content:
        """Return what it is given: a SIF is no index."""
        return index

    async def document(self, scope: Scope, content: Content) -> bytes:
        """Return a manifest's bytes.

        Raises:
            WaveletError: they cannot be had.
        """
        return await self._resolver.read(content, scope.identity)

    async def locate(self, scope: Scope, digest: Digest) -> Located:
        """Say where a blob of the name is.

        Raises:
            BlobNotFound: it belongs to no SIF that the name has answered.
            WaveletError: why that cannot be told.
        """
        content = await self._find(scope, digest)
        if content is None:
            raise BlobNotFound(f"this name contains no blob {digest}")
        return Located(digest, content.descriptor.size, content)

    async def blob(self, scope: Scope, located: Located) -> Blob | JoinedBlob:
        """Return a located blob, committed or partial.

        Raises:
            WaveletError: why it cannot be had.
        """
        assert located.content is not None, "all that these names have is in what they have answered"
        return await self._resolver.open_to_send(located.content, scope.identity)

    async def file(self, scope: Scope, manifest: Content) -> Located:
        """Return the file of a SIF that the name has answered.

        Raises:
            UpstreamBroken: what some registry calls a SIF is none.
            WaveletError: it cannot be told.
        """
        try:
            view = parse_document(await self.document(scope, manifest), manifest.descriptor.media_type)
        except MalformedManifest as error:
            raise UpstreamBroken(f"{scope.path}: {error}") from None
        found = file_in(view)
        if found is None:
            raise UpstreamBroken(
                f"{scope.path}: {manifest.descriptor.digest} is no SIF: it has not one file, of its type"
            )
        answered = await self._images.answered(scope, found, was_judged=True)
        if answered is None:
            raise BlobNotFound(f"this name contains no blob {found}")
        return Located(found, answered[1].descriptor.size, answered[1])

    async def referrers(self, scope: Scope, digest: Digest) -> Referrers:
        """Return what refers to a SIF: nothing does. What is attached to its image is found by that one's name."""
        return Referrers([])
