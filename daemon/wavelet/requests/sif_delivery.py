"""The delivery of SIFs as an effect: the file is in the site's directory when its request is ready.

What another node has written there is not made again, so that nothing is made before this is.
"""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.cluster.sif_directory.directory import Contents
from wavelet.kinds.sif.manifest import file_of
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.push.blob_sources import of_content
from wavelet.requests.binding import Effect
from wavelet.requests.request import ContainerRequest
from wavelet.requests.sif_answers import SifAnswers
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore


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
            source = of_content(file_of(image), self.resolver, self.store, identity)
            return Contents(source.descriptor.size, lambda: source.open(0))

        place = await self.answers.place(request, fixed)
        if place is None:
            await self.resolver.realise(fixed, identity)  # it is pulled from here, as all that has no such place
        else:
            await place.ensure(make)
