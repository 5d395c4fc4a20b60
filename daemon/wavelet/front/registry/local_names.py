"""The content of `local/` names: what was pushed to this node, in the form in which the routes ask any name for it."""

from __future__ import annotations

import contextlib

from wavelet.errors import BlobNotFound, ImageNotFound
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import LocalName
from wavelet.front.registry.scope import Scope
from wavelet.front.registry.service import Located
from wavelet.hosted.images import HostedImages
from wavelet.image.image import Content
from wavelet.image.reference import Digest, Platform
from wavelet.rules.applying import RuleRefused
from wavelet.store.content import Blob
from wavelet.upstream.listing import Referrers


class LocalNames:
    """See `wavelet.front.registry.service.RegistryService` for each method."""

    def __init__(self, images: HostedImages, plans: NamedPlans) -> None:
        """Take them; by `plans` rules of the site may refuse an image. It is given as it was pushed, or not at all."""
        self._images = images
        self._plans = plans

    async def get_tag(self, scope: Scope, tag: str) -> Content:
        """Return the manifest that a tag names.

        Raises:
            ImageNotFound: there is none.
            RuleRefused: a rule of the site does not allow it.
        """
        await self._judge(scope, tag)
        return (await self._images.get(scope.hosted, tag)).content

    async def manifest(self, scope: Scope, digest: Digest) -> Content:
        """Return a manifest by digest.

        Raises:
            ImageNotFound: there is none.
            RuleRefused: rules of the site allow it by its digest as little as by a tag.
        """
        found = (await self._images.get(scope.hosted, digest)).content
        try:
            await self._judge(scope, digest)
        except RuleRefused:
            if not await self._is_allowed_by_tag(scope, digest):
                raise
        return found

    async def _judge(self, scope: Scope, reference: str | Digest) -> None:
        assert isinstance(scope.named, LocalName), "no other name is of a hosted repository"
        await self._plans.of(scope, scope.named, reference)

    async def _is_allowed_by_tag(self, scope: Scope, digest: Digest) -> bool:
        """Tell whether one of the tags that name a manifest is allowed: who has that goes on by digest."""
        tags, _ = self._images.page_of_tags(scope.hosted, None, None)
        for tag in tags:
            with contextlib.suppress(RuleRefused, ImageNotFound):
                if (await self._images.get(scope.hosted, tag)).descriptor.digest == digest:
                    await self._judge(scope, tag)
                    return True
        return False

    async def looked_into(self, scope: Scope, index: Content, platform: Platform) -> Content:
        """Return the index: what lies deeper in it is its reader's affair."""
        return index

    async def document(self, scope: Scope, content: Content) -> bytes:
        """Return a manifest's bytes.

        Raises:
            ImageNotFound: they were damaged on disk.
        """
        return await self._images.document(content)

    async def locate(self, scope: Scope, digest: Digest) -> Located:
        """Say where a blob of the name is.

        Raises:
            BlobNotFound: it is not in the repository.
        """
        found = self._images.blob(scope.hosted, digest)
        if found is None:
            raise BlobNotFound(f"{scope.name} has no blob {digest}")
        return Located(digest, found.size, found.content)

    async def blob(self, scope: Scope, located: Located) -> Blob:
        """Return a located blob.

        Raises:
            BlobNotFound: it was damaged on disk.
        """
        assert located.content is not None, "a blob that was pushed is found with its size"
        return await self._images.open(located.content)

    async def tags(self, scope: Scope, n: int | None, last: str | None) -> tuple[list[str], bool]:
        """Return a page of tags, and whether there are more."""
        return self._images.page_of_tags(scope.hosted, n, last)

    async def referrers(self, scope: Scope, digest: Digest) -> Referrers:
        """Return what refers to a manifest."""
        return Referrers(self._images.referrers(scope.hosted, digest))
