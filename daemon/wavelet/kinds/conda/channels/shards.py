"""The shards of channels' indexes (CEP 16): small content that its digest names, hundreds of them for one solve.

A shard is answered as soon as its bytes have come and have the digest. It is kept afterwards, together with others and
without waiting for the disk: what a crash takes of it is fetched again, and what a crash damages is noticed when it is
opened, as with all small content. A shard that is not small goes the way of all other content.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from wavelet.concurrency import SingleFlight
from wavelet.errors import NoSpace, UpstreamBroken
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels import shard_index
from wavelet.kinds.conda.channels.client import Channels
from wavelet.store.content import Committed, ContentStore, in_place
from wavelet.store.ingest import Incoming
from wavelet.store.integrity import SMALL
from wavelet.upstream.retry import ConnectionBroke, repeated

ORIGIN = "channels"
"""The origin of index files in the store; everybody may have them."""

GATHERED = 0.25
"""Seconds in which shards are gathered that are written together."""

UNWRITTEN_LIMIT = 64 * 1024 * 1024
"""Bytes of shards that are in memory because they are not written yet, beyond which answers wait for the disk."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InMemory:
    """Verified bytes that are not in the store yet."""

    digest: Digest
    data: bytes

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.data)


class Shards:
    """The shards of one node."""

    def __init__(self, channels: Channels, store: ContentStore) -> None:
        self._channels = channels
        self._store = store
        self._fetches: SingleFlight[Digest, InMemory | Committed] = SingleFlight("shard", keep=True)
        self._unwritten: dict[Digest, InMemory] = {}
        self._held = 0
        self._writing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End what is being fetched, and write what has come."""
        await self._fetches.close()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def get(self, url: str, digest: Digest) -> InMemory | Committed:
        """Return the shard at `url`, undamaged.

        Raises:
            NotFound, AccessRefused, InvalidRequest: definite answers.
            UpstreamError: no answer, or other bytes than these.
            NoSpace: the store has no room for a shard that is not small.
        """
        known = self._unwritten.get(digest) or await self._store.open(digest, ORIGIN, thorough=True)
        if isinstance(known, InMemory | Committed):
            return known
        return await self._fetches.run(digest, lambda: self._fetch(url, digest))

    # -- fetching -----------------------------------------------------------------------------------------------------

    async def _fetch(self, url: str, digest: Digest) -> InMemory | Committed:
        address, _ = shard_index.origin_of(url)
        return await repeated(lambda: self._fetch_once(address, digest), on=(ConnectionBroke,))

    async def _fetch_once(self, address: str, digest: Digest) -> InMemory | Committed:
        data = await self._small(address)
        return await (self._large(address, digest) if data is None else self._take(digest, data))

    async def _small(self, address: str) -> bytes | None:
        """Return the bytes at an address, or None if there are too many of them to be held in memory."""
        chunks: list[bytes] = []
        size = 0
        async with self._channels.open(address) as stream:
            if stream.size is not None and stream.size > SMALL:
                return None
            async for chunk in stream.chunks:
                chunks.append(chunk)
                size += len(chunk)
                if size > SMALL:
                    return None
        return b"".join(chunks)

    async def _take(self, digest: Digest, data: bytes) -> InMemory:
        got = Digest.of(data, digest.algorithm)
        if got != digest:
            raise UpstreamBroken(f"the bytes have the digest {got} instead of {digest}")
        shard = self._unwritten[digest] = InMemory(digest, data)
        self._held += shard.size
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_behind(), name="write shards")
        if self._held > UNWRITTEN_LIMIT:
            await asyncio.shield(self._writing)
        return shard

    async def _large(self, address: str, digest: Digest) -> Committed:
        @contextlib.asynccontextmanager
        async def opener(offset: int) -> AsyncIterator[Incoming]:
            async with self._channels.open(address, offset) as stream:
                yield Incoming(offset, stream.size, stream.chunks, public=True)

        partial = await self._store.ingest(digest, None, ORIGIN, opener)
        return await in_place(self._store, partial, ORIGIN, f"the shard {digest}")

    # -- keeping ------------------------------------------------------------------------------------------------------

    async def _write_behind(self) -> None:
        while self._unwritten:
            await asyncio.sleep(GATHERED)
            await self._write()

    async def _write(self) -> None:
        batch = list(self._unwritten.values())
        try:
            await self._store.add_small({shard.digest: shard.data for shard in batch}, ORIGIN, public=True)
        except (NoSpace, OSError) as error:
            # They were answered all the same; whoever wants them again fetches them again.
            _log.warning("shards of an index are not kept", count=len(batch), because=str(error))
        finally:
            for shard in batch:
                if self._unwritten.pop(shard.digest, None) is not None:
                    self._held -= shard.size
