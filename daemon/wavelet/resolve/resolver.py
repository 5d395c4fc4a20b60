"""The resolver: from a plan and an identity to an image, each step once however many ask."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import structlog
from cachetools import TTLCache

from wavelet.config import Apply, Settings
from wavelet.errors import (
    BlobNotFound,
    NotFound,
    UpstreamBroken,
    WaveletError,
)
from wavelet.gather_all import gather_all
from wavelet.image.image import Content, Image
from wavelet.image.platform import Platform
from wavelet.image.reference import Repository
from wavelet.kinds.conda.locks.write import LockForm, write_lock
from wavelet.kinds.conda.model.environments import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.registry_image.tags import Pinned, Pinner, images_of
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.layers import Layer
from wavelet.plan.node import Node
from wavelet.plan.pinning import Pin
from wavelet.plan.principal import ANONYMOUS
from wavelet.plan.tree import layers, parts, repositories, without_unkept
from wavelet.resolve.content_sources import MakingSource
from wavelet.resolve.job import HELD, Job, Jobs, account
from wavelet.resolve.journal import Journals, make_key, solve_key
from wavelet.resolve.makers import Makers, makers
from wavelet.resolve.memo import Memo
from wavelet.resolve.pins import SOLVE_LIMIT, Pins, is_built
from wavelet.resolve.work import ResolverWork, Tools
from wavelet.store.content import Blob
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants

log = structlog.get_logger()

_T = TypeVar("_T")

PIN_LIMIT = 120.0
"""Seconds after which a pin's job gives up."""

MAKE_LIMIT = 3600.0
"""Seconds after which a making job gives up."""

IN_VAIN = 30.0
"""Seconds for which a lock that no image could be made of, even after another solve, is not let go of again."""

IN_VAIN_HELD = 1024

_ADVICE = (
    "these packages were settled by an earlier request: name another version, or have them chosen anew on this node by "
    "`wavelet conda solve --refresh` with the same packages and channels (in Wave's API: ?refresh=true)"
)


class Resolver:
    """See the module."""

    def __init__(
        self,
        logins: Logins,
        pinner: Pinner,
        access: Grants,
        memo: Memo,
        conda: CondaPinner,
        journals: Journals,
        tools: Tools,
        makers: Makers,
    ) -> None:
        self._logins = logins
        self._access = access
        self._pinner = pinner
        self._contents = tools.contents
        self._contents.add_last(MakingSource(tools.store, self._remake))
        self._layers = tools.layers
        self._memo = memo
        self._journals = journals
        self._tools = tools
        self.makers = makers
        self._jobs = Jobs()
        self._in_vain: TTLCache[str, None] = TTLCache(IN_VAIN_HELD, IN_VAIN)
        self._pins = Pins(self, pinner, conda, journals, self._jobs)

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: what makers go by. What runs goes on with what it began with."""
        made_by = makers(settings)

        def apply() -> None:
            self.makers = made_by

        return apply

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
        return self._pins.fresh(plan, identity)

    def latest_packages(self, plan: Node) -> list[tuple[Package | Wheel, ...]]:
        """Return the packages that a plan came to as this node knows last, whether that still stands or not."""
        return [(*lock.packages, *lock.wheels) for lock in self._pins.latest(plan)]

    async def pin(self, plan: Node, identity: Identity, *, refresh: bool = False) -> Job[Pinned]:
        """Start to pin `plan`, or join those who do. With `refresh` its packages are solved for anew.

        Raises:
            WaveletError: it has just failed.
        """
        # A new login makes it a new question, whatever the last answer was.
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version, refresh)
        if refresh:
            self._forget_failures(plan, identity, version)
        limit = SOLVE_LIMIT if any(isinstance(part, CondaEnvironment) for part in parts(plan)) else PIN_LIMIT
        return self._jobs.join("pin", key, lambda: self._pins.pin(plan, identity, refresh=refresh), limit)

    def _forget_failures(self, plan: Node, identity: Identity, version: str) -> None:
        """Let nothing stand that `plan` has failed with: who asks to refresh knows that something has changed."""
        key = (key_of(plan), identity.principal, version)
        self._jobs.forget("prepare", key)
        for refresh in (False, True):
            self._jobs.forget("pin", (*key, refresh))
        self._pins.forget_failures(plan)

    async def prepare(self, plan: Node, identity: Identity) -> Job[Pinned]:
        """Start to pin `plan` and to verify the layers that it names, or join those who do.

        Raises:
            WaveletError: it has just failed.
        """
        version = await self._logins.version(identity)
        key = (key_of(plan), identity.principal, version)
        return self._jobs.join("prepare", key, lambda: self._prepare(plan, identity), MAKE_LIMIT)

    async def _prepare(self, plan: Node, identity: Identity) -> Pinned:
        pinned: list[Pinned] = []

        async def look() -> None:
            pinned.append(await self._looked_at(plan, identity))

        async def verify(layer: Layer) -> None:
            await self._layers.verified(layer)

        await gather_all([look(), *(verify(layer) for layer in layers(plan))])
        return pinned[0]

    async def _looked_at(self, plan: Node, identity: Identity) -> Pinned:
        async def look(pinned: Pinned) -> Pinned:
            # Documents only, no layers: it shows whether the image is there for the platform that is asked for.
            looked_at = dict.fromkeys(images_of(pinned.plan))
            await gather_all(
                self.make(leaf, key_of(leaf), identity, pinned.public, wait=MAKE_LIMIT) for leaf in looked_at
            )
            if is_built(pinned):
                # The layers that came with the request are put on top when they are kept; it is quick.
                building = replace(pinned, plan=without_unkept(pinned.plan))
                built, _, _ = await self._built(without_unkept(plan), building, identity, MAKE_LIMIT)
                pinned = replace(built, plan=Pin.of(built.plan).fix(plan))
            return pinned

        return await self._of_pinned(plan, identity, look)

    def prepared(self, plan: Node, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nothing is left to do for `prepare`."""
        pinned = self.fresh(plan, identity)
        if pinned is None or any(self._memo.get(key_of(leaf)) is None for leaf in images_of(pinned.plan)):
            return None
        if is_built(pinned) and self._memo.get(key_of(without_unkept(pinned.plan))) is None:
            return None
        return pinned if self._layers.are_known(plan) else None

    # -- make ---------------------------------------------------------------------------------------------------------

    async def realise(self, plan: Node, identity: Identity) -> tuple[str, Image]:
        """Pin and make `plan`; return the key of the pinned plan and its image.

        Raises:
            WaveletError: why there is no image for this identity.
        """

        async def make(pinned: Pinned) -> tuple[str, Image]:
            if is_built(pinned):
                _, key, image = await self._built(plan, pinned, identity, HELD)
                return key, image
            key = key_of(pinned.plan)
            return key, await self.make(pinned.plan, key, identity, pinned.public)

        return await self._of_pinned(plan, identity, make)

    async def _of_pinned(self, plan: Node, identity: Identity, use: Callable[[Pinned], Awaitable[_T]]) -> _T:
        """Return what `use` makes of the pinned plan; where what a tag was is gone, the tag is asked for anew, once."""
        pinned = self.fresh(plan, identity) or await (await self.pin(plan, identity)).result()
        try:
            return await use(pinned)
        except NotFound:
            if not self._pins.is_doubted(plan):
                raise
            anew = await (await self.pin(plan, identity)).result()
            if anew.plan == pinned.plan:
                raise
            log.info("a tag is asked for anew, as what it was is gone", plan=key_of(plan))
        return await use(anew)

    def gone(self, repository: Repository) -> None:
        """Take note that a repository definitely has no more what an image is to have from it."""
        self._pinner.doubt(repository)

    async def _built(self, plan: Node, pinned: Pinned, identity: Identity, wait: float) -> tuple[Pinned, str, Image]:
        """Make a pinned plan with packages; return it, its key and its image.

        A lock that no node could make an image of yet is not held on to: an index may have been wrong about a package.
        """
        key = key_of(pinned.plan)
        image = self._memo.get(key)
        if image is not None:
            return pinned, key, image
        self._refer(plan, pinned)
        try:
            image = await self.make(pinned.plan, key, identity, pinned.public, wait=wait)
        except UpstreamBroken as error:
            if await self._pins.is_proved(pinned) or key in self._in_vain:
                raise error.with_message(f"{error.message}; {_ADVICE}") from None
            self._in_vain[key] = None
            log.warning("solving anew, as a package is not what was said of it", because=error.message)
            anew = await (await self.pin(plan, identity, refresh=True)).result(wait)
            if key_of(anew.plan) == key:
                raise
            pinned, key = anew, key_of(anew.plan)
            self._refer(plan, pinned)
            image = await self.make(pinned.plan, key, identity, pinned.public, wait=wait)
        await self._pins.prove(pinned)
        return pinned, key, image

    def _refer(self, plan: Node, pinned: Pinned) -> None:
        self._journals.refer(key_of(plan), list(dict.fromkeys(_made(pinned.plan))))

    async def make(
        self,
        plan: Node,
        key: str,
        identity: Identity,
        public: bool = False,
        *,
        wait: float = HELD,
        report: Callable[[str], None] | None = None,
    ) -> Image:
        """Return the image of a pinned plan that `identity` may read, waiting for at most `wait` seconds.

        `report` takes the lines of the log that this making is a part of.

        Raises:
            WaveletError: why there is none.
        """
        image = self._memo.get(key)
        if image is not None:
            return image
        return await self._make(plan, key, identity, public, report).result(wait)

    def _make(
        self, plan: Node, key: str, identity: Identity, public: bool, report: Callable[[str], None] | None = None
    ) -> Job[Image]:
        # What one identity failed to fetch is no answer for another one.
        holder = ANONYMOUS if public or not any(repositories(plan)) else identity.principal

        async def make() -> Image:
            with self._journal(plan, key, report or _unread) as line:
                work = ResolverWork(self, self._tools, key, identity, public, line)
                try:
                    image = await self.makers[type(plan)](plan, work)
                finally:
                    work.close()
                await self._memo.put(key, plan, image)
            return image

        return self._jobs.join("make", (key, holder), make, MAKE_LIMIT)

    @contextlib.contextmanager
    def _journal(self, plan: Node, key: str, report: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
        """Give what takes the log's lines; an image of packages has a journal of its own."""
        if not isinstance(plan, LockedEnvironment):
            yield report
            return
        line = self._journals.begin(make_key(key))
        doing = account()
        doing.begin("making")
        doing.log(self._journals.lines(make_key(key)))
        doing.want({each.sha256 or each.url: each.size or 0 for each in plan.packages})
        doing.want({each.sha256: each.size or 0 for each in plan.wheels})
        try:
            yield line
        except WaveletError as error:
            line(f"failed: {error.message}")
            raise
        finally:
            self._journals.end(make_key(key))

    def remembers(self, key: str) -> bool:
        """Tell whether the pinned plan with `key` was made before."""
        return self._memo.get(key) is not None

    def log(self, plan: Node, pinned: Node | None) -> str:
        """Return what is noted of the solving and making of a plan's packages, of the latest attempts.

        `pinned` is what the plan was pinned to, where that is known.
        """
        keys = [solve_key(part) for part in parts(plan) if isinstance(part, CondaEnvironment)]
        keys += self._journals.referred(key_of(plan)) if pinned is None else _made(pinned)
        return "".join(text for key in dict.fromkeys(keys) if (text := self._journals.read(key)))

    async def solved(self, plan: CondaEnvironment, identity: Identity, *, refresh: bool = False) -> LockedEnvironment:
        """Return the lock of packages, on their pinned base, solving if need be; with `refresh`, in any case.

        Raises:
            WaveletError: why there is none.
        """
        pinned = None if refresh else self.fresh(plan, identity)
        if pinned is None:
            pinned = await (await self.pin(plan, identity, refresh=refresh)).result()
        assert isinstance(pinned.plan, LockedEnvironment)
        return pinned.plan

    async def lock_file(self, plan: Node, identity: Identity, form: LockForm, platform: Platform | None) -> str | None:
        """Return the packages that a plan is pinned to as a lock file; None if it has none, or is not pinned.

        Of several platforms it is the one that is named, else the first one.

        Raises:
            WaveletError: what the form needs to know of the packages cannot be had.
        """
        locks = [lock for lock in self._pins.latest(plan) if platform in (None, lock.platform)]
        if not locks:
            return None
        work = ResolverWork(self, self._tools, key_of(locks[0]), identity, False, _unread)
        try:
            return await write_lock(locks[0], form, work)
        finally:
            work.close()

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
        return await self._contents.open(content, identity)

    async def read(self, content: Content, identity: Identity) -> bytes:
        """Return a small member of a closure whole: see `ContentSources.read`."""
        return await self._contents.read(content, identity)

    async def _remake(self, key: str, identity: Identity) -> None:
        plan = self._memo.plan(key)
        if plan is None:
            raise BlobNotFound("what made this is no longer remembered; pull the image by its name again")
        log.info("making again what was evicted", key=key)
        await self._make(plan, key, identity, public=False).result()


def _made(pinned: Node) -> list[str]:
    """Return the keys of the journals of the making of a pinned plan's images of packages."""
    return [make_key(key_of(part)) for part in parts(pinned) if isinstance(part, LockedEnvironment)]


def _unread(_line: str) -> None:
    """Take a line of a log that nobody can ask for."""
