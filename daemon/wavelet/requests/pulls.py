"""Pulls by the name of a request: of the image that the name answers, the same for good."""

from __future__ import annotations

import structlog

from wavelet.cluster.records import Records
from wavelet.errors import WaveletError
from wavelet.image.image import Image
from wavelet.plan.node import Node
from wavelet.plan.tokens import Identity
from wavelet.requests.binding import Bindings
from wavelet.requests.request import ContainerRequest
from wavelet.requests.request_cache import RequestCache
from wavelet.resolve.resolver import Resolver

log = structlog.get_logger()


class RequestPulls:
    """Answers pulls."""

    def __init__(self, cache: RequestCache, records: Records, bindings: Bindings, resolver: Resolver) -> None:
        self._cache = cache
        self._records = records
        self._bindings = bindings
        self._resolver = resolver

    async def request(self, token: str) -> ContainerRequest:
        """Return a request as quickly as can be, for a pull; this counts as a use.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
        """
        cached = await self._cache.look_up(token)
        try:
            await self._records.touch(token)
        except WaveletError as error:
            log.warning("the use of a request could not be noted", token=token, because=error.message)
        return cached.request

    async def realise(self, token: str, identity: Identity) -> tuple[str, Image]:
        """Return the key and the image that a name answers, for whoever pulls it.

        Raises:
            WaveletError: why there is none for this identity.
        """
        cached = await self._cache.look_up(token)
        if (made := self._bindings.made_before(cached.request)) is not None:
            await self._resolver.may_read(made[1], identity)
        else:
            made = await self._resolver.realise(await self._bindings.plan(cached), identity)
        if self._bindings.acted_upon(cached.request):
            cached.progress.pulled()
        return made

    async def plan(self, token: str) -> Node:
        """Return what a name answers, as a plan of which nothing moves; bind the name if need be.

        Raises:
            WaveletError: that cannot be told.
        """
        return await self._bindings.plan(await self._cache.look_up(token))
