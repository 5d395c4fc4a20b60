"""The services that solve for packages, and pin and make images, built."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.downloads import Downloads
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.pip import pip_config
from wavelet.kinds.conda.pip.requirements import PipResolver
from wavelet.kinds.conda.service import PackageLocks
from wavelet.kinds.conda.site_defaults import SiteDefaults
from wavelet.kinds.conda.solve.completion import Completion
from wavelet.kinds.conda.solve.pinner import CondaPinner, EnvironmentSolver
from wavelet.kinds.conda.solve.solver import Solver
from wavelet.kinds.sif.published.files import PublishedFiles
from wavelet.kinds.table import KindServices, build_kinds
from wavelet.push.layer_cache import LayerCache
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.resolve.archives import Archives, receive
from wavelet.resolve.events import Journals
from wavelet.resolve.first_made import ClusterSharing
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.work import Inputs, OwnNames, RegistryManifests, Tools
from wavelet.resolve.workers import Workers
from wavelet.upkeep import Upkeep
from wavelet.wiring.state import NodeState
from wavelet.wiring.upstream import UpstreamServices


@dataclass(frozen=True, slots=True)
class CondaServices:
    """What solves for packages and fetches them.

    `site` returns the site's defaults of now.
    """

    pinner: CondaPinner
    locks: PackageLocks
    archives: Archives
    site: SiteDefaults
    channels: Channels


@dataclass(frozen=True, slots=True)
class ImageServices:
    """What pins and makes images, and remembers them, how that went, and what was pushed where; worker processes."""

    resolver: Resolver
    memo: Memo
    journals: Journals
    pushed: PushedBlobs
    workers: Workers


async def build_conda(state: NodeState, upstream: UpstreamServices, upkeep: Upkeep) -> CondaServices:
    """Build what solves for packages.

    Raises:
        ConfigError: the environment's configuration of pip cannot be used.
    """
    settings, database, store = state.settings, state.database, state.store
    channels = await upkeep.stack.enter_async_context(Channels(settings))
    indexes = await asyncio.to_thread(pip_config.read, os.environ)
    await asyncio.to_thread(channels.admit, indexes.urls)
    relay = Relay(channels, store, database, settings)
    await relay.start()
    upkeep.stack.push_async_callback(relay.close)
    solver = Solver(
        settings.state_directory / "solver",
        settings,
        mirror=relay.url_for,
        generations=relay.generations.of,
        failure=relay.failure,
    )
    archives = Archives(store, channels.open, database)
    downloads = Downloads(archives.download)
    locks = Locks(database, state.cluster.claims, state.forms, settings)
    pip = PipResolver(settings, settings.state_directory / "pip", downloads.wheel, tuple(indexes.directories))
    solves = EnvironmentSolver(channels, relay, solver, Completion(solver, downloads.complete), pip)
    pinner = CondaPinner(locks, solves, upstream.client.location)
    upkeep.stack.push_async_callback(pinner.close)
    site = SiteDefaults(settings)
    upkeep.add_configurable(channels, relay, solver, locks, pip, site)
    upkeep.add_expiring(pinner)
    return CondaServices(pinner, PackageLocks(pinner), archives, site, channels)


def build_images(state: NodeState, upstream: UpstreamServices, conda: CondaServices, upkeep: Upkeep) -> ImageServices:
    """Build what pins and makes images."""
    settings, cluster = state.settings, state.cluster
    workers = Workers(settings.conda.workers)
    upkeep.stack.push_async_callback(workers.close)
    memo, journals = Memo(state.database, state.forms), Journals(state.database)
    store, client, pushed = state.store, upstream.client, PushedBlobs(state.database)
    manifests = RegistryManifests(store, client, gone=upstream.tags.doubt)
    tools = Tools(
        Inputs(upstream.contents, manifests, upstream.layers, conda.archives),
        store,
        ClusterSharing(cluster.claims, store),
        workers,
        OwnNames(cluster.records, settings.name_authority),
        LayerCache(client, store, pushed, cluster.key),
    )
    published = PublishedFiles(state.database, settings, conda.channels, receive)
    is_open = conda.channels.is_open
    services = KindServices(settings, upstream.tags, conda.pinner, is_open, published, upstream.own)
    kinds = build_kinds(state.kinds, services)
    resolver = Resolver(kinds, memo, journals, tools, upstream.logins, upstream.grants)
    upkeep.stack.push_async_callback(resolver.close)
    upkeep.add_configurable(resolver, published)
    upkeep.add_expiring(published, memo, journals, pushed)
    return ImageServices(resolver, memo, journals, pushed, workers)
