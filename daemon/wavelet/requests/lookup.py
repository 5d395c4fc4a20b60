"""Requests by their tokens, for those who may see them."""

from __future__ import annotations

from dataclasses import replace

from wavelet.errors import AccessRefused, TokenNotFound
from wavelet.plan.node import source_digest
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules
from wavelet.requests.history import History
from wavelet.requests.request import ContainerRequest, answer_name
from wavelet.requests.request_cache import CachedRequest, RequestCache
from wavelet.requests.served import ServedImages


class RequestLookup:
    """Finds requests."""

    def __init__(self, cache: RequestCache, history: History, served: ServedImages, rules: AccessRules) -> None:
        self._cache = cache
        self._history = history
        self._served = served
        self._rules = rules

    async def visible(self, token: str, identity: Identity) -> CachedRequest:
        """Return a request that `identity` may see.

        Raises:
            TokenNotFound: nobody has made it, or it has expired.
            AccessRefused: it is another user's.
        """
        try:
            cached = await self._cache.look_up(token)
        except TokenNotFound as error:
            why = self._history.refusal(token, identity.uid)
            if why is None:
                raise
            raise error.with_message(f"this container request was refused: {why.message}") from None
        if not self._rules.may_see(identity, cached.request.principal):
            raise AccessRefused("this container request belongs to another user")
        return cached

    def has_asked(self, token: str, identity: Identity) -> bool:
        """Tell whether a request is one that this very user has made on this node."""
        return identity.uid is not None and self._history.has_asked(token, identity.uid)

    async def find(self, token: str, identity: Identity) -> ContainerRequest:
        """Return a request, with what is known of its digests. See `visible` for the errors."""
        request = (await self.visible(token, identity)).request
        made = next(self._served.images(answer_name(token)), None)
        return replace(
            request,
            source_digest=None if request.fixed is None else source_digest(request.fixed),
            made_digest=None if made is None else made.descriptor.digest,
        )
