"""The content of frozen names: what it takes to have it again as it was is kept for as long as the names live.

The memo has what content was made of, and forgets that in less time than such a name lives. What stands as it was made
first (`wavelet.resolve.first_made`) is forgotten, too, when nobody has asked for it for long: while names are pulled
that have it, it is used.

What this version of wavelet makes otherwise than the one before goes on being answered after an upgrade. So what is
here of it stays from the start of the new version on, as last copies do; of all of it together no more than a part of
the store, for what is kept for names of long ago shall not keep out what is asked for today.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from wavelet.errors import WaveletError
from wavelet.image.image import Image, MadeBy
from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of
from wavelet.requests.frozen_names import USE_GRAIN, FrozenAnswer, FrozenNames
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.store.content import ContentStore

log = structlog.get_logger()

SHARE = 0.5
"""The part of the store's limit that may be kept so."""


class FrozenContent:
    """See the module."""

    def __init__(self, names: FrozenNames, memo: Memo, store: ContentStore, resolver: Resolver) -> None:
        self._names = names
        self._memo = memo
        self._store = store
        self._resolver = resolver

    async def run(self) -> None:
        """Keep what has to be kept, until this is cancelled."""
        await self.keep()
        while True:
            await self.renew()
            await asyncio.sleep(USE_GRAIN)

    async def renew(self) -> None:
        """Keep what the memo knows of names that live, and count what they have answered lately as used."""
        lately = time.time() - 2 * USE_GRAIN
        for answer in self._names.all():
            await asyncio.sleep(0)  # an image of many layers takes a millisecond to read
            image = self._memo.peek(answer.key)
            if image is None:
                continue
            self._memo.renew({answer.key, *image.makers})
            if answer.at >= lately:
                await self._count_use(answer, image)

    async def _count_use(self, answer: FrozenAnswer, image: Image) -> None:
        try:
            await self._resolver.renew(image)
        except WaveletError as error:
            log.warning("the use of a frozen image could not be noted", name=answer.name, because=error.message)

    async def keep(self) -> None:
        """Keep what is here of names whose images are made otherwise, the last used first. It is for the start."""
        kept: set[Digest] = set()
        size, limit = 0, self._store.limit * SHARE
        for answer in self._names.all():
            await asyncio.sleep(0)  # a plan with a long lock takes some milliseconds to read
            image = self._memo.peek(answer.key)
            if image is None or self._memo.plan(answer.key) is not None:
                continue
            sizes = {digest: here for digest, here in self._made(image).items() if digest not in kept}
            size += sum(sizes.values())
            if size > limit:
                log.warning(
                    "frozen images that only another version of wavelet makes are not all kept from eviction",
                    kept=size_of(size - sum(sizes.values())),
                    limit=size_of(int(limit)),
                    first=answer.name,
                )
                break
            kept.update(sizes)
            await self._store.retention.keep_last_copy(*sizes)

    def _made(self, image: Image) -> dict[Digest, int]:
        """Return what is in the store of an image that was made here, with the bytes of each."""
        made = (each.descriptor.digest for each in image.contents if isinstance(each.source, MadeBy))
        return {digest: size for digest in made if (size := self._store.size_of(digest))}
