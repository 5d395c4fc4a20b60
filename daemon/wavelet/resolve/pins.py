"""Plans pinned whole: tags to digests, and what is asked of conda to locks, which may need to look into base images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from wavelet.errors import WaveletError
from wavelet.image.image import Content, Image
from wavelet.kinds.conda.model.environments import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.libc import Libc
from wavelet.kinds.conda.model.parts import LibcOf
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.registry_image.tags import Pinned, Pinner
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity
from wavelet.plan.node import Node
from wavelet.plan.tree import map_parts, parts
from wavelet.resolve.job import Jobs, account
from wavelet.resolve.journal import Journals, solve_key

SOLVE_LIMIT = 600.0
"""Seconds after which a solve's job gives up: it may take in large indexes and find out what the base image has."""


class Makes(Protocol):
    """What is needed of the resolver."""

    async def make(self, plan: Node, key: str, identity: Identity, public: bool = False, *, wait: float) -> Image:
        """See `wavelet.resolve.resolver.Resolver.make`."""

    async def read(self, content: Content, identity: Identity) -> bytes:
        """See `wavelet.resolve.resolver.Resolver.read`."""


class Pins:
    """See the module."""

    def __init__(self, resolver: Makes, images: Pinner, conda: CondaPinner, journals: Journals, jobs: Jobs) -> None:
        self._resolver = resolver
        self._images = images
        self._conda = conda
        self._journals = journals
        self._jobs = jobs

    def fresh(self, plan: Node, identity: Identity) -> Pinned | None:
        """Return the pinned plan if nobody has to be asked for it."""
        pinned = self._images.fresh(plan, identity)
        if pinned is None or isinstance(plan, RegistryImage):
            return pinned
        locks = {asked: self._conda.fresh(asked) for asked in parts(plan) if isinstance(asked, CondaEnvironment)}
        known = {asked: lock for asked, lock in locks.items() if lock is not None}
        return _locked(plan, pinned, known) if len(known) == len(locks) else None

    def is_doubted(self, plan: Node) -> bool:
        """See `wavelet.kinds.registry_image.tags.Pinner.is_doubted`."""
        return self._images.is_doubted(plan)

    async def pin(self, plan: Node, identity: Identity, *, refresh: bool) -> Pinned:
        """Fix every part of `plan`; with `refresh` its packages are solved for anew.

        Raises:
            WaveletError: why it cannot be fixed.
        """
        account().begin("pinning")
        pinned = await self._images.pin(plan, identity)
        locks: dict[CondaEnvironment, LockedEnvironment] = {}
        for asked, fixed in zip(parts(plan), parts(pinned.plan), strict=True):
            if isinstance(asked, CondaEnvironment) and asked not in locks:
                lock = None if refresh else self._conda.fresh(asked)
                locks[asked] = lock or await self._solve(asked, fixed, identity, pinned.public, refresh)
        return _locked(plan, pinned, locks)

    async def _solve(
        self, asked: CondaEnvironment, fixed: Node, identity: Identity, public: bool, refresh: bool
    ) -> LockedEnvironment:
        assert isinstance(fixed, CondaEnvironment)
        base = fixed.base

        async def libc_of_base() -> Libc:
            plan = LibcOf(base)
            image = await self._resolver.make(plan, key_of(plan), identity, public, wait=SOLVE_LIMIT)
            return Libc.decode(await self._resolver.read(image.closure[image.descriptor.digest], identity))

        async def solve() -> LockedEnvironment:
            report = self._journals.begin(solve_key(asked))
            account().begin("solving")
            account().log(self._journals.lines(solve_key(asked)))
            try:
                # Packages for a platform that the base is not there for are of no use.
                await self._resolver.make(base, key_of(base), identity, public, wait=SOLVE_LIMIT)
                return await self._conda.pin(asked, base, libc_of_base, report, refresh=refresh)
            except WaveletError as error:
                report(f"failed: {error.message}")
                raise
            finally:
                self._journals.end(solve_key(asked))

        # Many plans may have the same packages in common.
        return await self._jobs.join("solve", (key_of(asked), refresh), solve, SOLVE_LIMIT).result(SOLVE_LIMIT)

    def forget_failures(self, plan: Node) -> None:
        """Let no solve for the plan's packages stand that has failed."""
        for asked in parts(plan):
            for refresh in (False, True):
                self._jobs.forget("solve", (key_of(asked), refresh))

    def latest(self, plan: Node) -> list[LockedEnvironment]:
        """Return the locks of a plan's packages that this node knows last, for those who want to see them."""
        locks = [part if isinstance(part, LockedEnvironment) else self._conda.latest(part) for part in _packages(plan)]
        return [lock for lock in locks if lock is not None]

    async def prove(self, pinned: Pinned) -> None:
        """Note, for all nodes, that an image was made of the plan's locks: they are never replaced unasked."""
        for lock in _locks(pinned):
            await self._conda.mark_built(lock)

    async def is_proved(self, pinned: Pinned) -> bool:
        """Tell whether any node has made an image of all of the plan's locks."""
        return all([await self._conda.was_built(lock) for lock in _locks(pinned)])


def is_built(pinned: Pinned) -> bool:
    """Tell whether something has to be built for it that could turn out not to be possible."""
    return bool(_locks(pinned))


def _packages(plan: Node) -> list[CondaEnvironment | LockedEnvironment]:
    return [part for part in parts(plan) if isinstance(part, CondaEnvironment | LockedEnvironment)]


def _locks(pinned: Pinned) -> list[LockedEnvironment]:
    return [part for part in parts(pinned.plan) if isinstance(part, LockedEnvironment)]


def _locked(plan: Node, pinned: Pinned, locks: Mapping[CondaEnvironment, LockedEnvironment]) -> Pinned:
    """Return the pinned plan with locks, on their pinned bases, in place of the packages that were asked for."""
    fixed: dict[Node, Node] = {
        part: replace(locks[asked], base=part.base)
        for asked, part in zip(parts(plan), parts(pinned.plan), strict=True)
        if isinstance(asked, CondaEnvironment) and isinstance(part, CondaEnvironment)
    }
    return replace(pinned, plan=map_parts(pinned.plan, lambda part: fixed.get(part, part)))
