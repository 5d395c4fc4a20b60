"""The services on the way to other servers, built."""

from __future__ import annotations

from dataclasses import dataclass

from wavelet.hosted.own_registry import OwnHostedRegistry, own_authorities
from wavelet.kinds.registry_image.kind import Pinner
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.content_sources import ContentSources, OriginSource, StoreSource
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.upkeep import Upkeep
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants
from wavelet.wiring.state import NodeState


@dataclass(frozen=True, slots=True)
class UpstreamServices:
    """The way to other servers, and to content wherever it is; `own` is this daemon as a registry."""

    logins: Logins
    client: Upstream
    grants: Grants
    own: OwnHostedRegistry
    tags: Pinner
    fetcher: BlobFetcher
    contents: ContentSources
    layers: RequestLayerVerifier


async def build_upstream(state: NodeState, upkeep: Upkeep) -> UpstreamServices:
    """Build the way to other servers.

    Raises:
        ConfigError: see `Upstream.start`.
    """
    settings, database, store = state.settings, state.database, state.store
    logins = Logins(settings, state.cluster.secrets)
    logins.on_event = lambda decision, uid, registry: state.audit.note(
        decision, door="grpc", uid=uid, upstreams=(registry,) if registry else ()
    )
    upkeep.stack.callback(logins.close)
    own = OwnHostedRegistry(state.hosted.images, own_authorities(settings))
    client = await upkeep.stack.enter_async_context(Upstream(settings, logins, own))
    grants = Grants(database, client, settings)
    upkeep.stack.push_async_callback(grants.close)
    pinner = Pinner(database, grants, settings)
    fetcher = BlobFetcher(store, client, state.cluster.records, settings, gone=pinner.doubt)
    contents = ContentSources(store, (StoreSource(store), OriginSource(fetcher)))
    layers = RequestLayerVerifier(store, fetcher, database, settings)
    upkeep.stack.callback(layers.close)
    upkeep.add_configurable(client, logins, grants, pinner, fetcher, layers)
    upkeep.add_expiring(logins, grants, pinner)
    return UpstreamServices(logins, client, grants, own, pinner, fetcher, contents, layers)
