"""The images that a name answers: made when they are asked for, remembered, and kept from eviction for a while."""

from __future__ import annotations

import time

from wavelet.config import Apply, Settings
from wavelet.errors import ImageNotFound
from wavelet.front.registry.given_before import GivenBefore
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.names import FrozenName
from wavelet.front.registry.scope import Scope
from wavelet.image.image import ACCEPTED_TYPES, Content, Image
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node
from wavelet.requests.admitting import Admitting
from wavelet.requests.patience import Patience
from wavelet.requests.pulls import RequestPulls
from wavelet.requests.served import ServedImages
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore


class NamedImages:
    """Answers for names."""

    def __init__(
        self,
        resolver: Resolver,
        pulls: RequestPulls,
        served: ServedImages,
        store: ContentStore,
        patience: Patience,
        plans: NamedPlans,
        settings: Settings,
    ) -> None:
        self._resolver = resolver
        self._pulls = pulls
        self._served = served
        self._store = store
        self._patience = patience
        self._admitting = Admitting(plans.rules, resolver)
        self._given = GivenBefore(served, plans)
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: for how many seconds an answered image is safe from eviction."""

        def apply() -> None:
            self._lease = settings.store.lease

        return apply

    async def answer(self, scope: Scope, plan: Node, tag: str | None = None) -> Content:
        """Return the manifest that a name answers from now on, made if need be; `tag` is by which it was asked for.

        Raises:
            WaveletError: why there is none.
        """
        if scope.token is None:
            await self._admitting.check(plan, scope.identity)
            key, image = await self._resolver.realise(plan, scope.identity)
        else:
            # Clients that know no status pull what was asked for at once: they wait here as others wait for that.
            key, image = await self._patience.ask(lambda: self._realised(scope, plan))
        self._served.put(scope.name, key, scope.pulled(tag or scope.tag, image))
        if isinstance(scope.named, FrozenName) and scope.tag is not None:
            self._served.frozen.put(scope.named.path, scope.tag, key)
        elif tag is not None and scope.token is None:
            self._served.tag(scope.name, tag, key)
        self.touch(image)
        return image.closure[image.descriptor.digest]

    async def _realised(self, scope: Scope, plan: Node) -> tuple[str, Image]:
        if scope.token is not None and plan is scope.plan:
            return await self._pulls.realise(scope.token, scope.identity)
        return await self._resolver.realise(plan, scope.identity)

    async def bound(self, scope: Scope, digest: Digest | None = None) -> Node:
        """Return what a token answers, as a plan of which nothing moves; it counts as answered.

        Raises:
            ImageNotFound: it has not the digest that it is asked for by.
            WaveletError: why there is none.
        """
        assert scope.token is not None and scope.plan is not None, "other names are bound to nothing"
        answered = (await self.answer(scope, scope.plan)).descriptor.digest
        if digest not in (None, answered):
            raise ImageNotFound(f"this name answers {answered}, not {digest}")
        return await self._pulls.plan(scope.token)

    async def answer_member(self, scope: Scope, content: Content, repository: Repository) -> Content:
        """Answer an index's manifest, so that what it names in turn belongs to the name as well.

        Raises:
            WaveletError: why there is none.
        """
        if content.descriptor.media_type not in ACCEPTED_TYPES:
            raise ImageNotFound(f"{content.descriptor.digest} is a blob, not a manifest")
        plan = RegistryImage(Reference(repository, digest=content.descriptor.digest))
        key = key_of(plan)
        image = await self._resolver.make(plan, key, scope.identity)
        self._served.put(scope.name, key, scope.pulled(None, image))
        self.touch(image)
        return image.closure[image.descriptor.digest]

    async def answered(self, scope: Scope, digest: Digest, *, was_judged: bool = False) -> tuple[Image, Content] | None:
        """Find `digest` in what the name has answered; `was_judged` is whether it was answered for this very question.

        Raises:
            WaveletError: the caller may not read it, or not have it by the rules of the site.
        """
        found = self._served.find(scope.name, digest)
        if found is not None:
            await self._resolver.may_read(found[0], scope.identity)
            if not was_judged:
                await self._given.check(scope, found[0])
        return found

    async def find(self, scope: Scope, digest: Digest) -> tuple[Image, Content] | None:
        """Find `digest` in what the name has answered; a token that has answered nothing on this node answers first.

        Raises:
            WaveletError: the caller may not read it, or there is none.
        """
        found = await self.answered(scope, digest)
        if found is None and scope.plan is not None:
            await self.answer(scope, scope.plan)
            found = await self.answered(scope, digest)
        return found

    def touch(self, image: Image) -> None:
        """Keep what was just asked for from eviction for a while."""
        self._store.lease(image.closure, time.time() + self._lease)
