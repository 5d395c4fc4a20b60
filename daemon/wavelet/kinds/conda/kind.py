"""The kinds of environments: what is asked for is solved to a lock, and of a lock an image is put together."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import replace

import structlog
from cachetools import TTLCache

from wavelet.errors import UpstreamBroken
from wavelet.image.image import Image
from wavelet.kinds.conda.compose import image
from wavelet.kinds.conda.model.libc import Libc
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.parts import LibcOf
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.kind import Kind, Pinned, PinWork, Preparation
from wavelet.kinds.work import Work
from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity

log = structlog.get_logger()

IN_VAIN = 30.0
"""Seconds for which a lock that no image could be made of, even after another solve, is not let go of again."""

IN_VAIN_HELD = 1024


class CondaEnvironments(Kind[CondaEnvironment]):
    """See the module."""

    node = CondaEnvironment
    is_solved = True

    def __init__(self, solves: CondaPinner) -> None:
        self._solves = solves

    def fresh(self, asked: CondaEnvironment, fixed: CondaEnvironment, identity: Identity) -> Pinned | None:
        """See `Kind`."""
        lock = self._solves.fresh(asked)
        return None if lock is None else Pinned(replace(lock, base=fixed.base), public=True)

    async def pin(self, asked: CondaEnvironment, fixed: CondaEnvironment, work: PinWork) -> Pinned:
        """See `Kind`."""

        async def libc_of_base() -> Libc:
            found = await work.realise(LibcOf(fixed.base))
            return Libc.decode(await work.read(found.closure[found.descriptor.digest]))

        # Packages for a platform that the base is not there for are of no use.
        await work.realise(fixed.base)
        lock = await self._solves.pin(asked, fixed.base, libc_of_base, work.report, refresh=work.refresh)
        return Pinned(lock, public=True)

    def solution(self, node: CondaEnvironment) -> Hashable | None:
        """See `Kind`."""
        lock = self._solves.latest(node)
        return None if lock is None else (*lock.packages, *lock.wheels)


class LockedEnvironments(Kind[LockedEnvironment]):
    """See the module."""

    node = LockedEnvironment
    preparation = Preparation.BUILT
    has_log = True
    advice = (
        "these packages were settled by an earlier request: name another version, or have them chosen anew on this "
        "node by `wavelet conda solve --refresh` with the same packages and channels (in Wave's API: ?refresh=true)"
    )

    def __init__(self, solves: CondaPinner) -> None:
        self._solves = solves
        self._in_vain: TTLCache[str, bool] = TTLCache(IN_VAIN_HELD, IN_VAIN, timer=time.monotonic)

    async def make(self, node: LockedEnvironment, work: Work) -> Image:
        """See `Kind`."""
        return await image.make(node, work)

    def items(self, node: LockedEnvironment) -> Mapping[str, int]:
        """See `Kind`."""
        packages = {each.sha256 or each.url: each.size or 0 for each in node.packages}
        return packages | {each.sha256: each.size or 0 for each in node.wheels}

    def solution(self, node: LockedEnvironment) -> Hashable | None:
        """See `Kind`."""
        return (*node.packages, *node.wheels)

    async def made(self, node: LockedEnvironment) -> None:
        """See `Kind`. Noted for all nodes: such locks are never replaced unasked."""
        await self._solves.mark_built(node)

    async def reconsider(self, node: LockedEnvironment, error: UpstreamBroken) -> bool:
        """See `Kind`.

        A lock that no node could make an image of yet is not held on to: an index may have been wrong about a package.
        """
        key = key_of(node)
        if await self._solves.was_built(node) or key in self._in_vain:
            return False
        self._in_vain[key] = True
        log.warning("solving anew, as a package is not what was said of it", because=error.message)
        return True
