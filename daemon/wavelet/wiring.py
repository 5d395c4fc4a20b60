"""The wiring: a daemon's services, built and joined from its state directory up to its doors, which `app` opens.

Each builder takes what lies below it and returns a small value with what others need of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from wavelet import __version__
from wavelet.cluster.backend import ClusterBackend, open_backend
from wavelet.config import Settings
from wavelet.daemon_status import DaemonStatus
from wavelet.front import operations
from wavelet.front.connections import Activity, counting
from wavelet.front.grpc.services import Services
from wavelet.front.middlewares import Guard, caller_middleware, error_middleware
from wavelet.front.registry.discovery import Discovery
from wavelet.front.registry.images import NamedImages
from wavelet.front.registry.routes import RegistryDoor
from wavelet.front.registry.scope import ScopeOpener
from wavelet.front.registry.service import RegistryService
from wavelet.front.wave.routes import add_routes as add_wave_routes
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
from wavelet.kinds.registry_image.kind import Pinner
from wavelet.kinds.table import KINDS, KindServices, Table, build_kinds, forms_of
from wavelet.logs import LogSettings
from wavelet.node_schema import NODE_SCHEMA
from wavelet.plan.canonical import Forms
from wavelet.push.image_push import ImagePusher
from wavelet.push.mirror import Mirror
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.reload.reloader import Reloader
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.binding import Bindings, Effects
from wavelet.requests.cache import Cache
from wavelet.requests.container_requests import ContainerRequests, Kept
from wavelet.requests.deliveries import Deliveries
from wavelet.requests.history import History
from wavelet.requests.inspection import Inspection
from wavelet.requests.naming import Naming, RequestKeeper
from wavelet.requests.patience import Patience
from wavelet.requests.prefetch import Prefetcher
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages
from wavelet.requests.site_repository import SiteRepository
from wavelet.resolve.archives import Archives
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.content_sources import ContentSources, OriginSource, StoreSource
from wavelet.resolve.events import Journals
from wavelet.resolve.first_made import ClusterSharing
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.unnamed_blobs import UnnamedBlobs
from wavelet.resolve.work import Inputs, OwnNames, RegistryManifests, Tools
from wavelet.resolve.workers import Workers
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.store.opening import open_cache
from wavelet.store.scrub import Scrub
from wavelet.upkeep import Upkeep
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node keeps, opened: in its state directory, and with the other nodes of its cluster.

    Attributes:
        kinds: the kinds of nodes that plans can have; `forms`: those in which plans are kept.
    """

    settings: Settings
    kinds: Table
    forms: Forms
    database: Database
    cluster: ClusterBackend
    store: ContentStore
    audit: Audit


@dataclass(frozen=True, slots=True)
class UpstreamServices:
    """The way to other servers, and to content wherever it is."""

    logins: Logins
    client: Upstream
    grants: Grants
    tags: Pinner
    fetcher: BlobFetcher
    contents: ContentSources
    layers: RequestLayerVerifier


@dataclass(frozen=True, slots=True)
class CondaServices:
    """What solves for packages and fetches them; `site` returns the site's defaults of now."""

    pinner: CondaPinner
    locks: PackageLocks
    archives: Archives
    site: SiteDefaults


@dataclass(frozen=True, slots=True)
class ImageServices:
    """What pins and makes images, and remembers them, and how that went."""

    resolver: Resolver
    memo: Memo
    journals: Journals


@dataclass(frozen=True, slots=True)
class RequestServices:
    """Container requests, and what their doors have in common."""

    requests: ContainerRequests
    served: ServedImages
    inspection: Inspection
    rules: AccessRules
    patience: Patience
    bindings: Bindings


async def open_state(settings: Settings, stack: AsyncExitStack, kinds: Table = KINDS) -> NodeState:
    """Open what is kept; `stack` closes it. `kinds` are those of nodes that plans can have.

    Raises:
        ConfigError: it cannot be opened, and why.
    """
    state, forms = settings.state_directory, forms_of(kinds)
    audit = await asyncio.to_thread(Audit.of, settings)
    stack.callback(audit.close)
    database = await asyncio.to_thread(open_cache, state / "node.db", NODE_SCHEMA)
    stack.callback(database.close)
    cluster = await asyncio.to_thread(open_backend, settings, forms)
    stack.push_async_callback(cluster.close)
    store = ContentStore(state, database, settings)
    stack.push_async_callback(store.close)
    return NodeState(settings, kinds, forms, database, cluster, store, audit)


async def build_services(app: web.Application, state: NodeState, reloader: Reloader, stack: AsyncExitStack) -> Services:
    """Build the services over the state, put the HTTP doors into `app`, and return what the gRPC door calls.

    Raises:
        ConfigError: one cannot be built with these settings, and why.
    """
    upkeep = Upkeep(stack)
    upstream = await _build_upstream(state, upkeep)
    conda = await _build_conda(state, upstream, upkeep)
    images = _build_images(state, upstream, conda, upkeep)
    requests = _build_requests(state, upstream, conda, images, upkeep)
    registry_door = _build_registry_door(state, upstream, conda, images, requests, upkeep)
    resolver = images.resolver
    activity = Activity(lambda: state.store.fetching or resolver.running > 0 or requests.bindings.running > 0)
    status = _status_of(state, resolver)
    _add_middlewares(app, state, requests.rules, activity, upkeep)
    _add_operations(app, state, status)
    registry_door.add_routes(app)
    add_wave_routes(app, requests.requests, requests.inspection, state.settings.name_authority, conda.site, state.audit)
    _keep_up(state, upkeep, reloader)
    return Services(
        requests=requests.requests,
        inspection=requests.inspection,
        resolver=resolver,
        locks=conda.locks,
        cache=Cache(state.store, requests.served),
        prefetcher=Prefetcher(resolver, state.store, requests.served),
        logins=upstream.logins,
        rules=requests.rules,
        activity=activity,
        site=conda.site,
        state=status,
        reloads=reloader,
        audit=state.audit,
    )


async def _build_upstream(state: NodeState, upkeep: Upkeep) -> UpstreamServices:
    settings, database, store = state.settings, state.database, state.store
    logins = Logins(settings, state.cluster.secrets)
    logins.on_event = lambda decision, uid, registry: state.audit.note(
        decision, door="grpc", uid=uid, upstreams=(registry,) if registry else ()
    )
    upkeep.stack.callback(logins.close)
    client = await upkeep.stack.enter_async_context(Upstream(settings, logins))
    grants = Grants(database, client, settings)
    upkeep.stack.push_async_callback(grants.close)
    pinner = Pinner(database, grants, settings)
    fetcher = BlobFetcher(store, client, state.cluster.records, settings, gone=pinner.doubt)
    contents = ContentSources(store, (StoreSource(store), OriginSource(fetcher)))
    layers = RequestLayerVerifier(store, fetcher, database, settings)
    upkeep.stack.callback(layers.close)
    upkeep.add_configurable(client, logins, grants, pinner, fetcher, layers)
    upkeep.add_expiring(logins, grants, pinner)
    return UpstreamServices(logins, client, grants, pinner, fetcher, contents, layers)


async def _build_conda(state: NodeState, upstream: UpstreamServices, upkeep: Upkeep) -> CondaServices:
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
    return CondaServices(pinner, PackageLocks(pinner), archives, site)


def _build_images(state: NodeState, upstream: UpstreamServices, conda: CondaServices, upkeep: Upkeep) -> ImageServices:
    settings, cluster = state.settings, state.cluster
    workers = Workers(settings.conda.workers)
    upkeep.stack.push_async_callback(workers.close)
    memo, journals = Memo(state.database, state.forms), Journals(state.database)
    store, client = state.store, upstream.client
    manifests = RegistryManifests(store, client, gone=upstream.tags.doubt)
    tools = Tools(
        Inputs(upstream.contents, manifests, upstream.layers, conda.archives),
        store,
        ClusterSharing(cluster.claims, store),
        workers,
        OwnNames(cluster.records, settings.name_authority),
    )
    kinds = build_kinds(state.kinds, KindServices(settings, upstream.tags, conda.pinner))
    resolver = Resolver(kinds, memo, journals, tools, upstream.logins, upstream.grants)
    upkeep.stack.push_async_callback(resolver.close)
    upkeep.add_configurable(resolver)
    upkeep.add_expiring(memo, journals)
    return ImageServices(resolver, memo, journals)


def _build_requests(
    state: NodeState, upstream: UpstreamServices, conda: CondaServices, images: ImageServices, upkeep: Upkeep
) -> RequestServices:
    settings, database, records = state.settings, state.database, state.cluster.records
    resolver, memo = images.resolver, images.memo
    served = ServedImages(database, memo, settings)
    rules = AccessRules.of(os.geteuid(), settings)
    history = History(database)
    patience = Patience.of(settings)
    cache = RequestCache(records, history, database, patience, settings)
    naming = Naming(records, upstream.logins, upstream.layers, state.cluster.key)
    repository = SiteRepository(settings)
    deliveries = _build_deliveries(state, upstream, images, served, repository, upkeep)
    bindings = Bindings(resolver, records, memo, served, Effects(deliveries.effects()))
    upkeep.stack.push_async_callback(bindings.close)
    requests = ContainerRequests.build(
        resolver,
        Kept(records, cache, history, served, images.journals, state.audit),
        RequestKeeper(naming, cache, upstream.layers),
        bindings,
        rules,
        conda.locks,
        (repository,),
    )
    upkeep.add_configurable(served, rules, patience, cache, repository)
    upkeep.add_expiring(served, history)
    inspection = Inspection(resolver, upstream.client, state.audit)
    return RequestServices(requests, served, inspection, rules, patience, bindings)


def _build_deliveries(
    state: NodeState,
    upstream: UpstreamServices,
    images: ImageServices,
    served: ServedImages,
    repository: SiteRepository,
    upkeep: Upkeep,
) -> Deliveries:
    pusher, pushed = upstream.client.pusher, PushedBlobs(state.database)
    upkeep.add_expiring(pushed)
    return Deliveries(
        images.resolver,
        served,
        images.journals,
        repository,
        ImagePusher(images.resolver, state.store, pusher, pushed),
        Mirror(upstream.client, upstream.grants, state.store, pusher, pushed),
    )


def _build_registry_door(
    state: NodeState,
    upstream: UpstreamServices,
    conda: CondaServices,
    images: ImageServices,
    requests: RequestServices,
    upkeep: Upkeep,
) -> RegistryDoor:
    settings, resolver, pulls, served = state.settings, images.resolver, requests.requests.pulls, requests.served
    named = NamedImages(resolver, pulls, served, state.store, requests.patience, settings)
    upkeep.add_configurable(named)
    discovery = Discovery(named, resolver, pulls, served, upstream.client)
    unnamed = UnnamedBlobs(state.store, upstream.client, upstream.grants, upstream.fetcher)
    return RegistryDoor(
        ScopeOpener(pulls, requests.rules, served),
        RegistryService(named, discovery, resolver, unnamed, conda.site),
        discovery,
        state.audit,
        reserved=settings.reserved_names,
        own_hosts=frozenset({settings.name_authority, settings.listen}),
    )


def _add_middlewares(
    app: web.Application, state: NodeState, rules: AccessRules, activity: Activity, upkeep: Upkeep
) -> None:
    guard = Guard(state.settings)
    upkeep.add_configurable(guard)
    app.middlewares.extend(
        [error_middleware, guard.refuse_foreign, caller_middleware(rules, state.cluster.key), counting(activity)]
    )


def _add_operations(app: web.Application, state: NodeState, status: Callable[[], DaemonStatus]) -> None:
    app[operations.READY] = {}
    app[operations.CHECKS] = (state.cluster.check, state.store.check)
    operations.add_routes(app)
    operations.add_status(app, status)


def _keep_up(state: NodeState, upkeep: Upkeep, reloader: Reloader) -> None:
    """Start what goes on by itself, and hand all services to the reload."""
    scrub = Scrub(state.store.integrity, state.database, state.settings)
    upkeep.stack.callback(scrub.stopped)
    for task in (upkeep.run(state.cluster), scrub.run()):
        upkeep.stack.callback(asyncio.create_task(task).cancel)
    upkeep.add_configurable(state.cluster, state.store, scrub, LogSettings(state.settings))
    reloader.add(*upkeep.configurable)
    reloader.on_event = lambda decision, reason: state.audit.note(decision, reason=reason)


def _status_of(state: NodeState, resolver: Resolver) -> Callable[[], DaemonStatus]:
    """Return what tells the state of the daemon as of now."""
    settings, store, started = state.settings, state.store, time.time()

    def tell() -> DaemonStatus:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uid": os.geteuid(),
            "started": started,
            "address": settings.listen,
            "authority": settings.name_authority,
            "state": str(settings.state_directory),
            "records": settings.records.directory,
            "jobs": resolver.running,
            "store": {"size": store.size, "limit": store.limit},
        }

    return tell
