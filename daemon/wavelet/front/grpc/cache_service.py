"""The servicer of `CacheService`: what the store has, pins, and what is to go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from wavelet.errors import InvalidRequest
from wavelet.front.grpc.answers import timestamp
from wavelet.front.grpc.names import Names
from wavelet.front.grpc.peer import Context, Peers
from wavelet.front.grpc.services import Services
from wavelet.requests.cache import Kept
from wavelet.v1 import cache_pb2 as pb
from wavelet.v1.cache_pb2_grpc import CacheServiceServicer


class Caches(CacheServiceServicer):
    """The content store, for administration."""

    def __init__(self, services: Services, names: Names, peers: Peers) -> None:
        self._cache = services.cache
        self._audit = services.audit
        self._peers = peers
        self._own = f"{names.authority}/"

    async def List(self, request: pb.ListRequest, _context: Context) -> AsyncIterator[pb.ListResponse]:
        """Tell what is in the store."""
        for kept in self._cache.blobs() if request.blobs else self._cache.images():
            yield _message(kept)
        if not request.blobs:
            async for kept in self._cache.absent():
                yield _message(kept)

    async def Stats(self, _request: pb.StatsRequest, _context: Context) -> pb.StatsResponse:
        """Return how full the store is."""
        stats = await self._cache.stats()
        return pb.StatsResponse(
            size=stats.size,
            reserved=stats.reserved,
            limit=stats.limit,
            free=stats.free,
            blobs=stats.blobs,
            pinned=stats.pinned,
            leased=stats.leased,
            pushed=stats.pushed,
            pushed_limit=stats.pushed_limit,
        )

    async def Pin(self, request: pb.PinRequest, _context: Context) -> pb.PinResponse:
        """Keep content from eviction."""
        counted = await self._cache.pin(self._named(request.names))
        return pb.PinResponse(blobs=counted.blobs, size=counted.size)

    async def Unpin(self, request: pb.UnpinRequest, _context: Context) -> pb.UnpinResponse:
        """Let content be evicted again."""
        counted = await self._cache.unpin(self._named(request.names))
        return pb.UnpinResponse(blobs=counted.blobs, size=counted.size)

    async def Collect(self, request: pb.CollectRequest, context: Context) -> pb.CollectResponse:
        """Remove content."""
        counted = await self._cache.collect(self._bare(request.names), request.keep)
        for name in request.names or [""]:
            self._audit.note("evicted", door="grpc", uid=self._peers.of(context).uid, name=name)
        return pb.CollectResponse(blobs=counted.blobs, size=counted.size)

    def _named(self, names: Iterable[str]) -> list[str]:
        found = self._bare(names)
        if not found:
            raise InvalidRequest("names: is missing; `cache ls` shows what can be named", field="names")
        return found

    def _bare(self, names: Iterable[str]) -> list[str]:
        """Return names as they are listed: those of this daemon without its authority."""
        return [name.removeprefix(self._own) for name in names]


def _message(kept: Kept) -> pb.ListResponse:
    leased = None if kept.leased_until is None else timestamp(kept.leased_until)
    return pb.ListResponse(
        name=kept.name,
        digest=str(kept.digest or ""),
        size=kept.size,
        full_size=kept.full_size,
        last_used=timestamp(kept.last_used),
        pinned=kept.pinned,
        leased_until=leased,
        pushed_by="" if kept.pushed_by is None else str(kept.pushed_by),
        frozen=kept.frozen,
    )
