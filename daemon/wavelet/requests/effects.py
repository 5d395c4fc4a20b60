"""Effects on the world, once an image can be made: the last step of a request. There is none yet.

Here pushing, mirroring and scanning will stand. A request is ready when all of them are done; equal requests share
them: each is done once for one image and one principal. After a restart it may be done once more, so it has to be
something that may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cachetools import LRUCache

from wavelet.plan.canonical import key as key_of
from wavelet.plan.identity import Identity, Principal
from wavelet.plan.node import Node
from wavelet.resolve.job import Jobs
from wavelet.resolve.making import MAKE_LIMIT

REMEMBERED = 100_000
"""Effects that are known to be done; what is forgotten is done once more when it is asked for again."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do, for every image.

    Attributes:
        key: tells it apart from others.
        run: does it, for a plan of which nothing moves and whom it is for; raises a WaveletError if that fails.
    """

    key: str
    run: Callable[[Node, Identity], Awaitable[None]]


class Effects:
    """Does what is to be done, in its order."""

    def __init__(self, effects: Sequence[Effect] = ()) -> None:
        self._effects = effects
        self._jobs = Jobs()
        self._done: LRUCache[tuple[str, str, Principal], None] = LRUCache(REMEMBERED)

    async def close(self) -> None:
        """End what goes on."""
        await self._jobs.close()

    def done(self, plan: Node, principal: Principal) -> bool:
        """Tell whether nothing is left to do for a plan of which nothing moves."""
        return not self._effects or all((each.key, key_of(plan), principal) in self._done for each in self._effects)

    async def run(self, plan: Node, identity: Identity) -> None:
        """Do what is left to do.

        Raises:
            WaveletError: one has failed; those behind it were not begun.
        """
        for effect in self._effects:
            key = (effect.key, key_of(plan), identity.principal)
            if key not in self._done:
                job = self._jobs.join("after", key, partial(effect.run, plan, identity), MAKE_LIMIT)
                await job.result(MAKE_LIMIT)
                self._done[key] = None
