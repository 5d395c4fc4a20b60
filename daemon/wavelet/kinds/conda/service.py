"""The service that only packages have, for doors: what an image's packages are, as a lock file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from wavelet.image.reference import Platform
from wavelet.kinds.conda.locks.write import LockForm, write_lock
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.kind import Work
from wavelet.plan.node import Node, parts

WorkFor = Callable[[Node], AbstractContextManager[Work]]
"""Gives what it takes to look into a pinned node, on behalf of whoever asks."""


class PackageLocks:
    """The locks that packages of plans have come to."""

    def __init__(self, solves: CondaPinner) -> None:
        self._solves = solves

    def latest(self, plan: Node) -> list[LockedEnvironment]:
        """Return the locks of a plan's packages that this node knows last, whether they still stand or not."""
        locks: list[LockedEnvironment] = []
        for part in parts(plan):
            lock = self._solves.latest(part) if isinstance(part, CondaEnvironment) else part
            if isinstance(lock, LockedEnvironment):
                locks.append(lock)
        return locks

    async def lock_file(self, plan: Node, form: LockForm, platform: Platform | None, work_for: WorkFor) -> str | None:
        """Return the packages that a plan is pinned to as a lock file; None if it has none, or is not pinned.

        Of several platforms it is the one that is named, else the first one.

        Raises:
            WaveletError: what the form needs to know of the packages cannot be had.
        """
        locks = [lock for lock in self.latest(plan) if platform in (None, lock.platform)]
        if not locks:
            return None
        with work_for(locks[0]) as work:
            return await write_lock(locks[0], form, work)
