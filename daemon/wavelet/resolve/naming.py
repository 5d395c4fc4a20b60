"""Under whose name a request is kept: everybody's where everybody may have what it names, else the asking user's.

A token opens its image to all whom its principal stands for. So a name for all is given only to a request whose images
are readable by all, and whose layers are, as far as this node knows, really where the request says. Layer locations are
no part of the name; what must not happen is that one request, by merely naming digests, gets the bytes of another's.
"""

from __future__ import annotations

from dataclasses import replace

from wavelet.cluster.records import Record, Records
from wavelet.errors import InvalidRequest, WaveletError
from wavelet.pin.tags import Pinned
from wavelet.plan.identity import Identity
from wavelet.plan.plan import INLINE, AsIndex, Layer, Plan, WithConfig, layers, sources
from wavelet.plan.tokens import ANONYMOUS
from wavelet.resolve.layers import Layers
from wavelet.upstream.credentials import Logins


class Naming:
    """Chooses the record of a request; `key` is the cluster's."""

    def __init__(self, records: Records, logins: Logins, named: Layers, key: bytes) -> None:
        self._records = records
        self._logins = logins
        self._layers = named
        self._key = key

    async def record(self, plan: Plan, identity: Identity, pinned: Pinned | None) -> Record:
        """Return the record under which the request of `identity` is kept; `pinned` is None while that is undecided.

        Raises:
            InvalidRequest: nobody in particular names layers that are known from another place, and not from this one.
        """
        own = identity.uid is not None and (await self._is_own(plan, identity, pinned) or not self._is_proved(plan))
        record = Record(plan, identity.principal if own else ANONYMOUS)
        if own or await self._agrees(record):
            return record
        if identity.uid is None and not self._is_proved(plan):
            raise InvalidRequest(
                "containerConfig.layers: these layers are known from another location, and could not be verified from "
                "this one; ask again when it answers",
                field="containerConfig.layers",
            )
        return Record(plan, identity.principal)

    async def token_if_refused(self, plan: Plan, identity: Identity) -> str:
        """Return the token of a request that gets no record: the one that it would have, as far as can be told."""
        try:
            record = await self.record(plan, identity, None)
        except WaveletError:
            record = Record(plan, identity.principal)
        return record.token(self._key)

    async def _is_own(self, plan: Plan, identity: Identity, pinned: Pinned | None) -> bool:
        if pinned is not None:
            return not pinned.public
        # Undecided: only who has a login of its own could turn out to be the only one who may read it.
        repositories = {leaf.reference.repository for leaf in sources(plan)}
        return any([await self._logins.knows(repository, identity) for repository in repositories])

    async def _agrees(self, record: Record) -> bool:
        """Tell whether the name is new, or means layers from the same places, or both requests' layers are verified."""
        token = record.token(self._key)
        stored = await self._records.get(token, patient=False)
        if stored is None:
            return True
        kept = list(layers(stored.record.plan))
        asked = list(layers(record.plan))
        if [layer.location for layer in kept] == [layer.location for layer in asked]:
            return True
        return self._is_proved(record.plan) and self._is_proved(stored.record.plan)

    def _is_proved(self, plan: Plan) -> bool:
        # The bytes of inline layers came with the request and were compared with their digests.
        named = (layer for layer in layers(plan) if not layer.location.startswith(INLINE))
        return all(self._layers.known_size(layer) is not None for layer in named)


def localised(plan: Plan, token: str) -> Plan:
    """Return the plan with its inline layers located beside the record of `token`."""

    def locate(layer: Layer) -> Layer:
        return replace(layer, location=INLINE + token) if layer.location.startswith(INLINE) else layer

    match plan:
        case WithConfig():
            return replace(plan, config=replace(plan.config, layers=tuple(map(locate, plan.config.layers))))
        case AsIndex():
            return AsIndex(tuple((platform, localised(member, token)) for platform, member in plan.members))  # type: ignore[misc]
    return plan
