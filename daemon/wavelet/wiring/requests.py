"""The services of container requests, built."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wavelet.requests.access import AccessRules
from wavelet.requests.binding import Bindings, Effects
from wavelet.requests.container_requests import ContainerRequests, Kept
from wavelet.requests.deliveries import Deliveries
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.history import History
from wavelet.requests.inspection import Inspection
from wavelet.requests.naming import Naming, RequestKeeper
from wavelet.requests.patience import Patience
from wavelet.requests.request import Rewrite
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages
from wavelet.requests.sif_answers import SifAnswers
from wavelet.requests.sif_delivery import SifDelivery
from wavelet.requests.site_codec import SiteCodec
from wavelet.requests.site_repository import SiteRepository
from wavelet.upkeep import Upkeep
from wavelet.wiring.images import CondaServices, ImageServices
from wavelet.wiring.push import PushServices
from wavelet.wiring.site import SiteServices
from wavelet.wiring.state import NodeState
from wavelet.wiring.upstream import UpstreamServices


@dataclass(frozen=True, slots=True)
class RequestServices:
    """Container requests, and what their doors have in common."""

    requests: ContainerRequests
    served: ServedImages
    inspection: Inspection
    rules: AccessRules
    patience: Patience
    bindings: Bindings
    sifs: SifAnswers
    codec: Rewrite
    plans: EffectivePlans


def build_requests(
    state: NodeState,
    upstream: UpstreamServices,
    conda: CondaServices,
    images: ImageServices,
    push: PushServices,
    site: SiteServices,
    upkeep: Upkeep,
) -> RequestServices:
    """Build what takes requests and answers for them."""
    settings, database, records = state.settings, state.database, state.cluster.records
    resolver, memo = images.resolver, images.memo
    served = ServedImages(database, memo, settings)
    rules = AccessRules.of(os.geteuid(), settings)
    history = History(database)
    patience = Patience.of(settings)
    cache = RequestCache(records, history, database, patience, settings)
    naming = Naming(records, upstream.logins, upstream.layers, state.cluster.key)
    repository, codec = SiteRepository(settings), SiteCodec(settings)
    sifs = SifAnswers(settings.name_authority, state.sif, resolver.is_public)
    deliveries = Deliveries(resolver, served, images.journals, repository, push.images, push.mirror)
    sif = SifDelivery(resolver, state.store, sifs)
    plans = EffectivePlans(site.rules, site.reading, (repository, codec))
    effects = Effects((*deliveries.effects(), sif.effect))
    bindings = Bindings(resolver, records, memo, served, effects, plans.admit)
    upkeep.stack.push_async_callback(bindings.close)
    requests = ContainerRequests.build(
        resolver,
        Kept(records, cache, history, served, images.journals, state.audit),
        RequestKeeper(naming, cache, upstream.layers),
        bindings,
        rules,
        conda.locks,
        plans,
    )
    upkeep.add_configurable(served, rules, patience, cache, repository, codec)
    upkeep.add_expiring(served, history)
    inspection = Inspection(resolver, upstream.client, state.audit, site.rules, site.reading)
    return RequestServices(requests, served, inspection, rules, patience, bindings, sifs, codec, plans)
