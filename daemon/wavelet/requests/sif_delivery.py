"""The delivery of SIFs as an effect: the file is in the site's directory when its request is ready.

What another node has written there is not made again, so that nothing is made before this is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from wavelet.cluster.sif_directory.directory import Contents
from wavelet.image.image import Content, Joined
from wavelet.kinds.sif.manifest import file_of
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.push.blob_sources import follow, follow_joined
from wavelet.requests.binding import Effect
from wavelet.requests.request import ContainerRequest
from wavelet.requests.sif_answers import SifAnswers
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore
from wavelet.upstream.file_ranges import Piece


@dataclass(frozen=True, slots=True)
class SifDelivery:
    """Puts SIFs where they are answered to be."""

    resolver: Resolver
    store: ContentStore
    answers: SifAnswers

    @property
    def effect(self) -> Effect:
        """The effect."""
        return Effect("sif", lambda plan: plan.is_file and self.answers.are_files, self._put, makes=True)

    async def _put(self, request: ContainerRequest, fixed: Node, identity: Identity) -> None:
        async def make() -> Contents:
            _, image = await self.resolver.realise(fixed, identity)
            content = file_of(image)
            return Contents(content.descriptor.size, lambda: self._opened(content, identity))

        place = await self.answers.place(request, fixed)
        if place is None:
            await self.resolver.realise(fixed, identity)  # it is pulled from here, as all that has no such place
        else:
            await place.ensure(make)

    def _opened(self, content: Content, identity: Identity) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        if isinstance(content.source, Joined):
            return follow_joined(self.resolver.joined(content, identity), self.store, 0)
        return follow(content.descriptor, self.store, lambda: self.resolver.open(content, identity), 0)
