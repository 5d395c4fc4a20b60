"""Requests under their names: the record of each, and the layers that came with it, kept for all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from wavelet.cluster.record import Record
from wavelet.image.digest import Digest
from wavelet.kinds.kind import Pinned
from wavelet.plan.layers import INLINE
from wavelet.plan.tree import layers
from wavelet.requests.container_request import About
from wavelet.requests.naming import Naming, localised
from wavelet.requests.request import Request
from wavelet.requests.request_cache import CachedRequest, RequestCache
from wavelet.resolve.layer_verifier import RequestLayerVerifier

INLINE_WAIT = 2.0
"""Seconds that the layers which come with a request may take to be looked through before its name is given."""


class RequestKeeper:
    """Gives requests their names, and keeps them."""

    def __init__(self, naming: Naming, cache: RequestCache, verifier: RequestLayerVerifier) -> None:
        self._naming = naming
        self._cache = cache
        self._layers = verifier

    async def take_inline(self, request: Request) -> None:
        """Compare the layers that came with a request with their digests.

        Raises:
            CallerError: one is not what the request says.
            TimeoutError: that takes too long to be waited for.
        """
        async with asyncio.timeout(INLINE_WAIT):
            await self._layers.take_inline(request.effective, request.inline)

    async def token_if_refused(self, request: Request) -> str:
        """Return the token of a request that gets no record: that of an earlier one, or one that nobody is given."""
        return await self._naming.token_if_refused(request.effective, request.identity)

    async def keep(self, request: Request, pinned: Pinned | None, about: About, *, anew: bool) -> CachedRequest:
        """Name a request by what it is pinned to (None: that is undecided), and keep it.

        With `anew` the name is none that was given before without a pin: see `Naming.record`.

        Raises:
            InvalidRequest: its layers are known from another place, and not from this one.
            OurError: it cannot be written down.
        """
        record = await self._naming.record(request.effective, request.identity, pinned, anew=anew)
        return await self._keep(record, request.inline, about)

    async def _keep(self, record: Record, inline: Mapping[Digest, bytes], about: About) -> CachedRequest:
        token = await self._naming.keep(record, inline)
        cached = await self._cache.look_up(token)
        self._cache.describe(cached, about)
        plan = localised(record.plan, token)
        is_ready = cached.progress.took is not None
        if cached.request.plan != plan and (not is_ready or self._layers.are_known(record.plan)):
            # The same layers from other places: of two requests the later one knows better where they are now.
            cached.request = replace(cached.request, plan=plan)
            cached.progress.job = cached.progress.job if is_ready else None
        for asked, kept in zip(layers(record.plan), layers(plan), strict=True):
            size = self._layers.known_size(asked) if asked.location == INLINE else None
            if size is not None and self._layers.known_size(kept) is None:
                self._layers.remember(kept, size)
        return cached
