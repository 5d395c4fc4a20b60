"""The choice of the name that a request is kept under: for whom, and by what it was pinned to.

A token opens its image to all whom its principal stands for. So a name for all is given only to a request whose images
are readable by all, and whose layers are, as far as this node knows, really where the request says. Layer locations are
no part of the name; what must not happen is that one request, by merely naming digests, gets the bytes of another's.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from cachetools import LRUCache

from wavelet.cluster.records import Record, Records, Stored
from wavelet.errors import InvalidRequest, WaveletError
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Pinned
from wavelet.plan.canonical import Pin, canonical
from wavelet.plan.node import INLINE, Node, layers, repositories
from wavelet.plan.tokens import ANONYMOUS, NONCE_BYTES, Identity, Principal
from wavelet.requests.request import About, Request, localised
from wavelet.requests.request_cache import CachedRequest, RequestCache
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.upstream.credentials import Logins

UNDECIDED_HELD = 10_000
"""Names without a pin that equal requests get again; of what is forgotten they get another one."""

log = structlog.get_logger()

_REFUSED = "00"
"""The nonce of requests that get no record."""


@dataclass(slots=True)
class _Undecided:
    """A name without a pin.

    Attributes:
        nonce: what stands in it in place of the pin.
        unkept: its plan while no record of it is written, which is missed only after that.
        anew: whether it is for packages that are solved for anew.
    """

    nonce: str
    unkept: Node | None
    anew: bool = False


class Naming:
    """Chooses the record of a request; `key` is the cluster's."""

    def __init__(self, records: Records, logins: Logins, named: RequestLayerVerifier, key: bytes) -> None:
        self._records = records
        self._logins = logins
        self._layers = named
        self._key = key
        self._undecided: LRUCache[tuple[bytes, Principal], _Undecided] = LRUCache(UNDECIDED_HELD)

    async def record(self, plan: Node, identity: Identity, pinned: Pinned | None, *, anew: bool = False) -> Record:
        """Return the record under which the request of `identity` is kept; `pinned` is None while that is undecided.

        With `anew` it is none that was given before without a pin: that may be bound to what was found earlier.

        Raises:
            InvalidRequest: nobody in particular names layers that are known from another place, and not from this one.
        """
        if anew:
            for asked in (_asked(plan, identity.principal), _asked(plan, ANONYMOUS)):
                if asked in self._undecided and not self._undecided[asked].anew:
                    del self._undecided[asked]
        own = identity.uid is not None and (
            is_pushed(plan) or await self._is_own(plan, identity, pinned) or not self._is_proved(plan)
        )
        record, kept = await self._named(plan, identity.principal if own else ANONYMOUS, pinned, anew)
        # Without a record the name is new.
        if own or kept is None or self._may_share(kept.record.plan, plan):
            return record
        if identity.uid is None and not self._is_proved(plan):
            raise InvalidRequest(
                "containerConfig.layers: these layers are known from another location, and could not be verified from "
                "this one; ask again when it answers",
                field="containerConfig.layers",
            )
        return (await self._named(plan, identity.principal, pinned, anew))[0]

    async def token_if_refused(self, plan: Node, identity: Identity) -> str:
        """Return the token of a request that gets no record: that of an earlier one, or one that nobody is given."""
        given = self._undecided.get(_asked(plan, identity.principal)) or self._undecided.get(_asked(plan, ANONYMOUS))
        return Record(plan, identity.principal, nonce=given.nonce if given else _REFUSED).token(self._key)

    async def keep(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """Keep a record that `record` has returned, and return its token; errors are those of `Records.put`."""
        token = await self._records.put(record, inline)
        given = self._undecided.get(_asked(record.plan, record.principal)) if record.nonce else None
        if given is not None and given.nonce == record.nonce:
            given.unkept = None
        return token

    async def _named(
        self, plan: Node, principal: Principal, pinned: Pinned | None, anew: bool
    ) -> tuple[Record, Stored | None]:
        """Return the record for a principal, and what is kept under its name."""
        if pinned is None:
            return await self._without_pin(plan, principal, anew)
        record = Record(plan, principal, Pin.of(pinned.plan))
        token = record.token(self._key)
        kept = await self._records.get(token, patient=False)
        if kept is None:
            # One that was given before the pin was known is bound to it soon, or was a moment ago.
            return await self._undecided_of(plan, principal, record.pin) or (record, None)
        if not kept.record.first:
            return record, kept
        try:
            await self._records.touch(token)  # it says which name is given for as long as that is
        except WaveletError as error:
            log.warning("that a name is given could not be noted", token=kept.record.first, because=error.message)
        return await self._given_first(record, kept.record.first) or (record, kept)

    async def _given_first(self, record: Record, token: str) -> tuple[Record, Stored] | None:
        """Return the record of `token`, and what is kept under it, if that was bound to the same."""
        kept = await self._records.get(token, patient=False)
        if kept is None or kept.pin is None or record.pin is None or kept.pin.name != record.pin.name:
            return None
        earlier = Record(record.plan, record.principal, nonce=kept.record.nonce)
        return (earlier, kept) if earlier.nonce and earlier.token(self._key) == token else None

    async def _without_pin(self, plan: Node, principal: Principal, anew: bool) -> tuple[Record, Stored | None]:
        """Return the record of an undecided name: this node's own of earlier while that is bound to nothing."""
        if (earlier := await self._undecided_of(plan, principal)) is not None:
            return earlier
        nonce = secrets.token_hex(NONCE_BYTES)
        self._undecided[_asked(plan, principal)] = _Undecided(nonce, plan, anew)
        return Record(plan, principal, nonce=nonce), None

    async def _undecided_of(
        self, plan: Node, principal: Principal, pin: Pin | None = None
    ) -> tuple[Record, Stored | None] | None:
        """Return the record of this node's own undecided name, if that is bound to nothing, or to `pin`."""
        if not self._undecided:
            return None
        asked = _asked(plan, principal)
        given = self._undecided.get(asked)
        while given is not None:
            record = Record(plan, principal, nonce=given.nonce)
            if given.unkept is None:
                kept = await self._records.get(record.token(self._key), patient=False)
                if kept is not None and (kept.pin is None or (pin and kept.pin.name == pin.name)):
                    return record, kept
            elif self._may_share(given.unkept, plan):
                return record, None  # an equal request of the same moment
            latest = self._undecided.get(asked)
            given = None if latest is given else latest
        return None

    async def _is_own(self, plan: Node, identity: Identity, pinned: Pinned | None) -> bool:
        if pinned is not None:
            return not pinned.public
        # Undecided: only who has a login of its own could turn out to be the only one who may read it.
        asked = set(repositories(plan))
        return any([await self._logins.knows(repository, identity) for repository in asked])

    def _may_share(self, kept: Node, asked: Node) -> bool:
        """Tell whether two requests mean layers from the same places, or both have theirs verified."""
        if [layer.location for layer in layers(kept)] == [layer.location for layer in layers(asked)]:
            return True
        return self._is_proved(asked) and self._is_proved(kept)

    def _is_proved(self, plan: Node) -> bool:
        # The bytes of inline layers came with the request and were compared with their digests.
        named = (layer for layer in layers(plan) if not layer.location.startswith(INLINE))
        return all(self._layers.known_size(layer) is not None for layer in named)


def is_pushed(plan: Node) -> bool:
    """Tell whether an image, or layers of it, are pushed somewhere, with the logins of whoever asks for it."""
    delivery = plan.delivery
    return delivery is not None and (delivery.repository or delivery.cache) is not None


def _asked(plan: Node, principal: Principal) -> tuple[bytes, Principal]:
    return hashlib.sha256(canonical(plan)).digest(), principal


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
