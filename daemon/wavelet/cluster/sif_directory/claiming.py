"""Who makes a file: one process takes the claim, all others wait for the file, and take over when the holder is dead.

That he is dead is told by the claim's time, which he has the file server set every few seconds: clocks of nodes differ,
and none is asked for the time of day. If his process was on this node, the kernel is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from wavelet.cluster.shared_directory.directory_io import CHECK_WAIT, DirectoryIo
from wavelet.cluster.sif_directory import claim_files
from wavelet.cluster.sif_directory.claim_files import Holder, Standing
from wavelet.cluster.sif_directory.tree import Tree
from wavelet.errors import WaitExpired, WaveletError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds.

    Attributes:
        beat: after which a holder has his claim's time move.
        poll: after which who waits looks again.
        stale: for which it has not moved when the holder is taken for dead.
        observed: of these, for which that was seen; more where the clocks of the two nodes give files their times.
        wait: after which who waits gives up.
    """

    beat: float = 3.0
    poll: float = 0.5
    stale: float = 30.0
    observed: float = 10.0
    wait: float = 3600.0


class Claiming:
    """The claims in one directory."""

    def __init__(self, tree: Tree, io: DirectoryIo, patience: Patience) -> None:
        self._tree = tree
        self._io = io
        self._patience = patience

    @contextlib.asynccontextmanager
    async def held(self, claim: str, is_there: Callable[[], Awaitable[bool]]) -> AsyncIterator[Holder | None]:
        """Hold a claim; None: what it is for is there, another has made it.

        Args:
            claim: its name, which can be that of a file.
            is_there: tells whether what it is for is there.

        Raises:
            WaitExpired: another makes it, and has not come to an end.
            WaveletError: the directory cannot be used.
        """
        holder = Holder.this_process()
        if not await self._take(claim, holder, is_there):
            yield None
            return
        try:
            # Between the last look and the claim, the one before may have come to its end.
            if await is_there():
                yield None
                return
            beating = asyncio.create_task(self._beat(claim, holder))
            try:
                yield holder
            finally:
                beating.cancel()
        finally:
            # One that cannot be given back now is taken for a dead one's.
            with contextlib.suppress(WaveletError):
                await self._io.run(claim_files.release, self._tree, claim, holder, wait=CHECK_WAIT)

    async def _take(self, claim: str, holder: Holder, is_there: Callable[[], Awaitable[bool]]) -> bool:
        """Take a claim, or return False once what it is for is there."""
        watch = _Watch()
        end = time.monotonic() + self._patience.wait
        while True:
            standing = await self._io.run(claim_files.take, self._tree, claim, holder)
            if standing is None:
                return True
            if await is_there():
                return False
            if watch.begins():
                log.info("waits for a SIF file that is being made", claim=claim, host=standing.holder.host)
            if await self._is_dead(standing, watch.unchanged(standing)) and await self._io.run(
                claim_files.take_away, self._tree, claim, standing.holder
            ):
                log.warning("takes over from who was making a SIF file", claim=claim, host=standing.holder.host)
                continue
            if time.monotonic() > end:
                waited = f"has been making {claim} for more than {self._patience.wait:.0f} seconds"
                raise WaitExpired(f"the node {standing.holder.host or '(unknown)'} {waited}; ask again")
            await asyncio.sleep(self._patience.poll)

    async def _is_dead(self, standing: Standing, unchanged: float) -> bool:
        if unchanged >= self._patience.stale or standing.holder.has_ended():
            return True
        if unchanged < self._patience.observed:
            return False
        return await self._io.run(claim_files.age, self._tree, standing) > self._patience.stale

    async def _beat(self, claim: str, holder: Holder) -> None:
        """Show that this process lives, until cancelled, or until another has taken over: then it is heard of."""
        while True:
            await asyncio.sleep(self._patience.beat)
            try:
                if not await self._io.run(claim_files.keep, self._tree, claim, holder):
                    log.warning("another node has taken over a SIF file that is made here", claim=claim)
                    return
            except WaveletError as error:
                log.warning("cannot show that a SIF file is being made", claim=claim, because=error.message)


class _Watch:
    """For how long a claim has not changed, as seen by one who waits."""

    def __init__(self) -> None:
        self._seen: Standing | None = None
        self._since = 0.0

    def begins(self) -> bool:
        """Tell whether nothing was seen yet."""
        return self._seen is None

    def unchanged(self, standing: Standing) -> float:
        """Return for how many seconds a claim was seen as it is now."""
        if standing != self._seen:
            self._seen, self._since = standing, time.monotonic()
        return time.monotonic() - self._since
