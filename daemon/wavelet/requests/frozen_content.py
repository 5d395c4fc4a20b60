"""The content of frozen names that this version of wavelet would make otherwise: it is kept from eviction.

A name goes on answering its digest after an upgrade, and what it answers cannot be made again as it was. So what is
here of it stays from the start of the new version on, as the last copies of other content do; of all of it together no
more than a part of the store, for what is kept for names of long ago shall not keep out what is asked for today.
"""

from __future__ import annotations

import asyncio

import structlog

from wavelet.image.image import Image, MadeBy
from wavelet.image.reference import Digest
from wavelet.quantities import size as size_of
from wavelet.requests.frozen_names import FrozenNames
from wavelet.resolve.memo import Memo
from wavelet.store.content import ContentStore

log = structlog.get_logger()

SHARE = 0.5
"""The part of the store's limit that may be kept so."""


class FrozenContent:
    """See the module."""

    def __init__(self, names: FrozenNames, memo: Memo, store: ContentStore) -> None:
        self._names = names
        self._memo = memo
        self._store = store

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
                    first=f"{answer.path}:{answer.tag}",
                )
                break
            kept.update(sizes)
            await self._store.retention.keep_last_copy(*sizes)

    def _made(self, image: Image) -> dict[Digest, int]:
        """Return what is in the store of an image that was made here, with the bytes of each."""
        made = (each.descriptor.digest for each in image.contents if isinstance(each.source, MadeBy))
        return {digest: size for digest in made if (size := self._store.size_of(digest))}
