"""The pinner of conda specs, which become locks: solved once for all nodes, and the same until a refresh is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from wavelet.errors import UpstreamError
from wavelet.kinds.conda.locks.fetch import Location, with_lock_file
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.model.libc import Libc
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.conda.solve.environment_solver import EnvironmentSolver, Job, Report
from wavelet.plan.node import Node

log = structlog.get_logger()


class CondaPinner:
    """The locks of one node, and the way to new ones."""

    def __init__(self, locks: Locks, solves: EnvironmentSolver, location: Location) -> None:
        """Nothing is started or asked yet.

        Args:
            locks: what is remembered.
            solves: makes new locks.
            location: opens the URL of a lock file.
        """
        self._locks = locks
        self._solves = solves
        self._location = location

    async def close(self) -> None:
        """End the solver process."""
        await self._solves.close()

    def expire(self) -> None:
        """Forget what nobody has asked for in a long time."""
        self._locks.expire()
        self._solves.expire()

    def fresh(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock if nobody has to be asked for it; its base is the one of `leaf`."""
        lock = self._locks.cached(leaf)
        return None if lock is None else replace(lock, base=leaf.base, layers=leaf.layers)

    def latest(self, leaf: CondaEnvironment) -> LockedEnvironment | None:
        """Return the lock that this node knows last, for those who want to see it."""
        return self._locks.latest(leaf)

    async def mark_built(self, lock: LockedEnvironment) -> None:
        """Note for all nodes that an image was made of a lock."""
        await self._locks.mark_built(lock)

    async def was_built(self, lock: LockedEnvironment) -> bool:
        """Tell whether any node has made an image of a lock."""
        return await self._locks.was_built(lock)

    async def pin(
        self,
        leaf: CondaEnvironment,
        base: Node,
        libc: Callable[[], Awaitable[Libc]],
        report: Report,
        *,
        refresh: bool = False,
    ) -> LockedEnvironment:
        """Return the lock of `leaf` on a pinned base.

        Args:
            leaf: as asked; its base may be a tag.
            base: the leaf's base, pinned.
            libc: finds out the base's C library, which is done only where it is needed.
            report: takes lines of the log, which users read.
            refresh: whether a lock that stands is replaced by a new one.

        Raises:
            Unsolvable, InvalidRequest, NotFound, AccessRefused: the request has to change.
            UpstreamError: a channel does not do its part, and no earlier lock stands in.
        """
        shared = None if refresh else await self._locks.shared(leaf)
        if shared is not None:
            self._solves.check(shared.packages, shared.wheels)
            report(f"the lock of the first request stands: {_content(shared.packages, shared.wheels)}")
            return replace(shared, base=base, layers=leaf.layers)
        try:
            lock = await self._solved(Job(leaf, base, libc, report, refresh))
        except UpstreamError as error:
            earlier = None if refresh else await self._locks.earlier(leaf)
            if earlier is None:
                raise
            self._solves.check(earlier.packages, earlier.wheels)
            log.warning("an earlier lock stands in", specs=leaf.specs, because=error.message)
            report(f"warning: {error.message}; an earlier lock stands in: {_content(earlier.packages, earlier.wheels)}")
            return replace(earlier, base=base, layers=leaf.layers)
        kept = await self._locks.keep(leaf, lock, refresh=refresh)
        return replace(kept, base=base, layers=leaf.layers)

    async def _solved(self, job: Job) -> LockedEnvironment:
        if job.leaf.lock_location:
            job = replace(job, leaf=await with_lock_file(job.leaf, self._location, job.report))
        return await self._solves.solve(job)


def _content(packages: tuple[Package, ...], wheels: tuple[Wheel, ...]) -> str:
    return f"{len(packages)} packages" + (f" and {len(wheels)} wheels" if wheels else "")
