"""The resolver: from a plan and an identity to an image, each step once however many ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

import structlog

from wavelet.concurrency import gather_all
from wavelet.config import Apply, Settings
from wavelet.errors import NotFound, UpstreamBroken, WaveletError
from wavelet.image.image import Content, Image, Joined
from wavelet.kinds.kind import Kinds, Pinned, Preparation, Work
from wavelet.plan.canonical import Pin
from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Layer, Node, layers, walk, without_unkept
from wavelet.plan.tokens import Identity
from wavelet.resolve.events import Journals, solve_key
from wavelet.resolve.job import HELD, Job, Jobs
from wavelet.resolve.joined import JoinedBlob
from wavelet.resolve.memo import Memo
from wavelet.resolve.steps import MAKE_LIMIT, Making, Pinning
from wavelet.resolve.work import Tools
from wavelet.store.content import Blob
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants

log = structlog.get_logger()

_T = TypeVar("_T")


class Resolver:
    """See the module."""

    def __init__(
        self, kinds: Kinds, memo: Memo, journals: Journals, tools: Tools, logins: Logins, access: Grants
    ) -> None:
        self._kinds = kinds
        self._memo = memo
        self._journals = journals
        self._tools = tools
        self._logins = logins
        self._access = access
        self._jobs = Jobs()
        self._making = Making(kinds, memo, journals, tools, self._jobs)
        self._pinning = Pinning(kinds, self._making, journals, self._jobs)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: what kinds go by. What runs goes on with what it began with."""
        return self._kinds.configure(settings)

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return len(self._jobs)

    async def close(self) -> None:
        """End all jobs."""
        self._tools.workers.end()
        await self._jobs.close()

    async def logins_version(self, identity: Identity) -> str:
        """Return what changes when the logins of an identity do: then an answer of before is none."""
        return await self._logins.version(identity)

    # -- pin ----------------------------------------------------------------------------------------------------------

    def fresh(self, plan: Node, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nobody has to be asked for it."""
        return self._pinning.fresh(plan, identity)

    def is_solved(self, plan: Node) -> bool:
        """Tell whether a refresh has something to solve for anew."""
        return self._pinning.is_solved(plan)

    def solutions(self, plan: Node) -> list[Hashable]:
        """Return what a plan was solved to as this node knows last, whether that still stands or not."""
        return self._pinning.solutions(plan)

    async def pin(self, plan: Node, identity: Identity, *, refresh: bool = False) -> Job[Pinned]:
        """Start to pin `plan`, or join those who do. With `refresh` what is solved is solved for anew.

        Raises:
            WaveletError: it has just failed.
        """
        # A new login makes it a new question, whatever the last answer was.
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version, refresh)
        if refresh:
            self._forget_failures(plan, identity, version)
        limit = self._pinning.limit(plan)
        return self._jobs.join("pin", key, lambda: self._pinning.pin(plan, identity, refresh=refresh), limit)

    async def pinned(self, plan: Node, identity: Identity, *, refresh: bool = False) -> Pinned:
        """Return the pinned plan, asking whom there is to ask if need be; with `refresh`, in any case.

        Raises:
            WaveletError: why there is none.
        """
        fresh = None if refresh else self.fresh(plan, identity)
        return fresh or await (await self.pin(plan, identity, refresh=refresh)).result()

    async def is_public(self, pinned: Node) -> bool:
        """Tell whether everybody may read all that a pinned plan is made of, as far as anybody answers."""
        try:
            return (await self.pinned(pinned, Identity())).public
        except WaveletError:
            return False

    def _forget_failures(self, plan: Node, identity: Identity, version: str) -> None:
        """Let nothing stand that `plan` has failed with: who asks to refresh knows that something has changed."""
        key = (key_of(plan), identity.principal, version)
        for build in (False, True):
            self._jobs.forget("prepare", (*key, build))
        for refresh in (False, True):
            self._jobs.forget("pin", (*key, refresh))
        self._pinning.forget_failures(plan)

    # -- prepare ------------------------------------------------------------------------------------------------------

    async def prepare(self, plan: Node, identity: Identity, *, build: bool = True) -> Job[Pinned]:
        """Start to pin `plan` and to verify the layers that it names, or join those who do.

        Without `build` nothing is made that takes more than documents: somebody may have done that already.

        Raises:
            WaveletError: it has just failed.
        """
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version, build)
        return self._jobs.join("prepare", key, lambda: self._prepare(plan, identity, build), MAKE_LIMIT)

    async def _prepare(self, plan: Node, identity: Identity, build: bool) -> Pinned:
        pinned: list[Pinned] = []

        async def look() -> None:
            looked = await self._of_pinned(plan, identity, lambda found: self._looked_at(plan, found, identity, build))
            pinned.append(looked)

        async def verify(layer: Layer) -> None:
            await self._tools.inputs.layers.verified(layer)

        await gather_all([look(), *(verify(layer) for layer in layers(plan))])
        return pinned[0]

    async def _looked_at(self, plan: Node, pinned: Pinned, identity: Identity, build: bool) -> Pinned:
        # Documents only, no layers: it shows whether the image is there for the platform that is asked for.
        looked_at = dict.fromkeys(self._nodes(pinned.plan, Preparation.LOOKED_AT))
        await gather_all(self.make(node, key_of(node), identity, pinned.public, wait=MAKE_LIMIT) for node in looked_at)
        if build and self._is_built(pinned.plan):
            # The layers that came with the request are put on top when they are kept; it is quick.
            building = replace(pinned, plan=without_unkept(pinned.plan))
            built, _, _ = await self._built(without_unkept(plan), building, identity, MAKE_LIMIT)
            pinned = replace(built, plan=Pin.of(built.plan).fix(plan))
        return pinned

    def prepared(self, plan: Node, identity: Identity, *, build: bool = True) -> Pinned | None:
        """Return the pinned plan if nothing is left to do for `prepare`."""
        pinned = self.fresh(plan, identity)
        if pinned is None:
            return None
        looked_at = self._nodes(pinned.plan, Preparation.LOOKED_AT)
        if any(self._memo.get(key_of(node)) is None for node in looked_at):
            return None
        if build and self._is_built(pinned.plan) and self._memo.get(key_of(without_unkept(pinned.plan))) is None:
            return None
        return pinned if self._tools.inputs.layers.are_known(plan) else None

    def _nodes(self, plan: Node, preparation: Preparation) -> list[Node]:
        return [node for node in walk(plan) if self._kinds.of(node).preparation is preparation]

    def _is_built(self, pinned: Node) -> bool:
        return bool(self._nodes(pinned, Preparation.BUILT))

    # -- make ---------------------------------------------------------------------------------------------------------

    async def realise(self, plan: Node, identity: Identity) -> tuple[str, Image]:
        """Pin and make `plan`; return the key of the pinned plan and its image.

        Raises:
            WaveletError: why there is no image for this identity.
        """

        async def make(pinned: Pinned) -> tuple[str, Image]:
            if self._is_built(pinned.plan):
                _, key, image = await self._built(plan, pinned, identity, HELD)
                return key, image
            key = key_of(pinned.plan)
            return key, await self.make(pinned.plan, key, identity, pinned.public)

        return await self._of_pinned(plan, identity, make)

    async def _of_pinned(self, plan: Node, identity: Identity, use: Callable[[Pinned], Awaitable[_T]]) -> _T:
        """Return what `use` makes of the pinned plan; where what a tag was is gone, the tag is asked for anew, once."""
        pinned = await self.pinned(plan, identity)
        try:
            return await use(pinned)
        except NotFound:
            if not self._pinning.is_doubted(plan):
                raise
            anew = await (await self.pin(plan, identity)).result()
            if anew.plan == pinned.plan:
                raise
            log.info("a tag is asked for anew, as what it was is gone", plan=key_of(plan))
        return await use(anew)

    async def _built(self, plan: Node, pinned: Pinned, identity: Identity, wait: float) -> tuple[Pinned, str, Image]:
        """Make a pinned plan whose making may fail by its pin; return it, its key and its image.

        What nothing could be made of is pinned anew, once, where its kind says so.
        """
        key = key_of(pinned.plan)
        image = self._memo.get(key)
        if image is not None:
            return pinned, key, image
        self._refer(plan, pinned)
        try:
            image = await self.make(pinned.plan, key, identity, pinned.public, wait=wait)
        except UpstreamBroken as error:
            if not await self._is_reconsidered(pinned.plan, error):
                advice = {kind.advice for kind in map(self._kinds.of, self._nodes(pinned.plan, Preparation.BUILT))}
                raise error.with_message("; ".join([error.message, *sorted(advice - {""})])) from None
            anew = await (await self.pin(plan, identity, refresh=True)).result(wait)
            if key_of(anew.plan) == key:
                raise
            pinned, key = anew, key_of(anew.plan)
            self._refer(plan, pinned)
            image = await self.make(pinned.plan, key, identity, pinned.public, wait=wait)
        for node in self._nodes(pinned.plan, Preparation.BUILT):
            await self._kinds.of(node).made(node)
        return pinned, key, image

    async def _is_reconsidered(self, pinned: Node, error: UpstreamBroken) -> bool:
        """Tell whether anything in a plan is to be pinned anew, as nothing could be made of it."""
        nodes = self._nodes(pinned, Preparation.BUILT)
        return any([await self._kinds.of(node).reconsider(node, error) for node in nodes])

    async def make(
        self, plan: Node, key: str, identity: Identity, public: bool = False, *, wait: float = HELD
    ) -> Image:
        """Return the image of a pinned plan that `identity` may read: see `Making.make`."""
        return await self._making.make(plan, key, identity, public, wait=wait)

    async def renew(self, image: Image) -> None:
        """Count what cannot be made again of an image as used: see `Making.renew`."""
        await self._making.renew(image)

    def work_for(self, plan: Node, identity: Identity) -> AbstractContextManager[Work]:
        """Give what it takes to look into a pinned plan on behalf of an identity, without making it."""
        return self._making.work_for(plan, identity)

    # -- log ----------------------------------------------------------------------------------------------------------

    def log(self, plan: Node, pinned: Node | None) -> str:
        """Return what is noted of the solving and making of a plan, of the latest attempts.

        `pinned` is what the plan was pinned to, where that is known.
        """
        keys = [solve_key(part) for part in self._pinning.solved_parts(plan)]
        keys += self._journals.referred(key_of(plan)) if pinned is None else self._making.journals_of(pinned)
        return "".join(text for key in dict.fromkeys(keys) if (text := self._journals.read(key)))

    def _refer(self, plan: Node, pinned: Pinned) -> None:
        self._journals.refer(key_of(plan), self._making.journals_of(pinned.plan))

    # -- content ------------------------------------------------------------------------------------------------------

    async def may_read(self, image: Image, identity: Identity) -> None:
        """Return if `identity` may read every repository that an image's content comes from.

        Raises:
            AccessRefused: it may not.
            UpstreamError: an upstream does not say, and has not said before.
        """
        for repository in image.upstreams:
            if not self._access.holders(repository, identity):
                await self._access.require(repository, identity)

    async def open(self, content: Content, identity: Identity) -> Blob:
        """Return a member of a closure: see `ContentSources.open`."""
        return await self._tools.inputs.contents.open(content, identity)

    def joined(self, content: Content, identity: Identity) -> JoinedBlob:
        """Return a member of a closure that is joined of others: see `ContentSources.joined`."""
        return self._tools.inputs.contents.joined(content, identity)

    async def open_to_send(self, content: Content, identity: Identity) -> Blob | JoinedBlob:
        """Return a member of a closure, whether it is joined of others or not.

        Raises:
            WaveletError: it cannot be had; of one that is joined, its parts tell when they are opened.
        """
        if isinstance(content.source, Joined):
            return self.joined(content, identity)
        return await self.open(content, identity)

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole: see `ContentSources.read`."""
        return await self._making.read(content, identity)
