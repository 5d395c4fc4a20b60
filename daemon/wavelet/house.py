"""The rooms of a daemon, built and joined: from its state directory up to its doors, which `app` opens."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web

from wavelet import __version__
from wavelet.cluster.backend import ClusterBackend, open_backend
from wavelet.config import Settings
from wavelet.daemon_status import DaemonStatus
from wavelet.errors import WaveletError
from wavelet.front import operations
from wavelet.front.activity import Activity, counting
from wavelet.front.caller import caller_middleware
from wavelet.front.error_middleware import error_middleware
from wavelet.front.grpc.services import Services
from wavelet.front.guard import Guard
from wavelet.front.registry.routes import RegistryDoor
from wavelet.front.registry.scope import RegistryService
from wavelet.front.wave.routes import add_routes as add_wave_routes
from wavelet.host import liveness
from wavelet.kinds.conda.channels import index_files
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.relay import Relay
from wavelet.kinds.conda.locks import shared_locks
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.pip import pip_config
from wavelet.kinds.conda.site_defaults import SiteDefaults
from wavelet.kinds.conda.solve.pinner import CondaPinner
from wavelet.kinds.conda.solve.solver import Solver
from wavelet.kinds.registry_image import tags
from wavelet.kinds.registry_image.tags import Pinner
from wavelet.kinds.table import FORMS
from wavelet.logs import LogSettings
from wavelet.reload.reloader import Reloader
from wavelet.requests import history, request_cache, served
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.binding import Bindings
from wavelet.requests.cache import Cache
from wavelet.requests.container_requests import ContainerRequests, Kept
from wavelet.requests.effects import Effects
from wavelet.requests.history import History
from wavelet.requests.inspection import Inspection
from wavelet.requests.keeping import RequestKeeper
from wavelet.requests.naming import Naming
from wavelet.requests.patience import Patience
from wavelet.requests.prefetch import Prefetcher
from wavelet.requests.request_cache import RequestCache
from wavelet.requests.served import ServedImages
from wavelet.resolve import archives, journal, layer_verifier, memo
from wavelet.resolve.archives import Archives
from wavelet.resolve.blob_fetcher import BlobFetcher
from wavelet.resolve.content_sources import ContentSources, OriginSource, StoreSource
from wavelet.resolve.journal import Journals
from wavelet.resolve.layer_verifier import RequestLayerVerifier
from wavelet.resolve.makers import makers
from wavelet.resolve.memo import Memo
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.unnamed_blobs import UnnamedBlobs
from wavelet.resolve.work import Tools
from wavelet.resolve.workers import Workers
from wavelet.store import content, scrub
from wavelet.store.content import ContentStore
from wavelet.store.database import Database
from wavelet.store.opening import open_cache
from wavelet.store.scrub import Scrub
from wavelet.upstream import grants as granted
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins
from wavelet.upstream.grants import Grants

log = structlog.get_logger()

EXPIRY_INTERVAL = 3600.0
"""Seconds between two looks for what is past its lifetime."""

_ROOMS = (
    content,
    scrub,
    memo,
    tags,
    granted,
    layer_verifier,
    request_cache,
    served,
    history,
    archives,
    journal,
    index_files,
    shared_locks,
    liveness,
)
SCHEMA = "".join(room.SCHEMA for room in _ROOMS)
"""The tables of a node's own database."""


class Expires(Protocol):
    """What forgets by age."""

    def expire(self) -> None:
        """Forget what is too old to be of use."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all rooms stand on: the settings, what is kept, and the way to other servers."""

    settings: Settings
    database: Database
    cluster: ClusterBackend
    store: ContentStore
    logins: Logins
    upstream: Upstream
    audit: Audit


async def lay_ground(settings: Settings, stack: AsyncExitStack) -> Ground:
    """Open what is kept in the state directory, which is this process's, and in that of the cluster.

    Raises:
        ConfigError: it cannot be opened, and why.
    """
    state = settings.state_directory
    audit = await asyncio.to_thread(Audit.of, settings)
    stack.callback(audit.close)
    database = await asyncio.to_thread(open_cache, state / "node.db", SCHEMA)
    stack.callback(database.close)
    cluster = await asyncio.to_thread(open_backend, settings, FORMS)
    stack.push_async_callback(cluster.close)
    store = ContentStore(state, database, settings)
    stack.push_async_callback(store.close)
    logins = _logins(settings, cluster, audit)
    stack.callback(logins.close)
    upstream = await stack.enter_async_context(Upstream(settings, logins))
    return Ground(settings, database, cluster, store, logins, upstream, audit)


async def furnish(app: web.Application, ground: Ground, reloader: Reloader, stack: AsyncExitStack) -> Services:
    """Build the rooms between the doors and the store, and put the doors into `app`."""
    settings, database, store, upstream = ground.settings, ground.database, ground.store, ground.upstream
    cluster, records, logins, audit = ground.cluster, ground.cluster.records, ground.logins, ground.audit
    grants = Grants(database, upstream, settings)
    stack.push_async_callback(grants.close)
    pinner = Pinner(database, grants, settings)
    fetcher, contents, named = _contents(ground, pinner)
    stack.callback(named.close)
    images = Memo(database, FORMS)
    site = SiteDefaults(settings)
    conda, archives = await _conda(ground, reloader, stack)
    workers = Workers(settings.conda.workers)
    stack.push_async_callback(workers.close)
    journals = Journals(database)
    tools = Tools(store, contents, upstream, named, archives, cluster.claims, workers, records, settings.name_authority)
    made_by = makers(settings)
    resolver = Resolver(logins, pinner, grants, images, conda, journals, tools, made_by)
    stack.push_async_callback(resolver.close)
    served_images = ServedImages(database, images, settings)
    rules = AccessRules.of(os.geteuid(), settings)
    past = History(database)
    patience = Patience.of(settings)
    looked_up = RequestCache(records, past, database, patience, settings)
    naming = Naming(records, logins, named, cluster.key)
    bindings = Bindings(resolver, records, images, served_images, Effects())
    stack.push_async_callback(bindings.close)
    container_requests = ContainerRequests.build(
        resolver,
        Kept(records, looked_up, past, served_images, audit),
        RequestKeeper(naming, looked_up, named),
        bindings,
        rules,
    )
    inspection = Inspection(resolver, upstream, audit)
    scopes = RegistryService(
        resolver,
        UnnamedBlobs(store, upstream, grants, fetcher),
        container_requests.pulls,
        served_images,
        store,
        upstream,
        rules,
        site,
        patience,
        settings,
    )
    own_hosts = frozenset({settings.name_authority, settings.listen})
    scrubbing = Scrub(store.integrity, database, settings)
    stack.callback(scrubbing.stopped)
    expiry = _expire(cluster, (logins, grants, pinner, images, served_images, conda, journals, past))
    for upkeep in (expiry, scrubbing.run()):
        stack.callback(asyncio.create_task(upkeep).cancel)
    activity = Activity(lambda: store.fetching or resolver.running > 0)
    app[operations.READY] = {}
    app[operations.CHECKS] = (cluster.check, store.check)
    guard = Guard(settings)
    reloader.add(upstream, logins, grants, pinner, fetcher, named)
    reloader.add(store, scrubbing, cluster, resolver, served_images, looked_up, patience, scopes, site, rules, guard)
    reloader.add(LogSettings(settings))
    reloader.on_event = lambda decision, reason: audit.note(decision, reason=reason)
    app.middlewares.extend(
        [error_middleware, guard.refuse_foreign, caller_middleware(rules, cluster.key), counting(activity)]
    )
    operations.add_routes(app)
    state = _state_teller(settings, resolver, store)
    operations.add_status(app, state)
    RegistryDoor(scopes, audit, reserved=settings.reserved_names, own_hosts=own_hosts).add_routes(app)
    add_wave_routes(app, container_requests, inspection, settings.name_authority, site, audit)
    return Services(
        container_requests,
        inspection,
        resolver,
        Cache(store, served_images),
        Prefetcher(resolver, store, served_images),
        logins,
        rules,
        activity,
        site,
        state,
        reloader,
        audit,
    )


def _contents(ground: Ground, pinner: Pinner) -> tuple[BlobFetcher, ContentSources, RequestLayerVerifier]:
    """Build what fetches content, what opens it wherever it is, and what verifies the layers of requests."""
    store, settings = ground.store, ground.settings
    fetcher = BlobFetcher(store, ground.upstream, ground.cluster.records, settings, gone=pinner.doubt)
    contents = ContentSources(store, (StoreSource(store), OriginSource(fetcher)))
    return fetcher, contents, RequestLayerVerifier(store, fetcher, ground.database, settings)


def _state_teller(settings: Settings, resolver: Resolver, store: ContentStore) -> Callable[[], DaemonStatus]:
    started = time.time()

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


async def _conda(ground: Ground, reloader: Reloader, stack: AsyncExitStack) -> tuple[CondaPinner, Archives]:
    """Build what solves for packages and fetches them."""
    settings, database, store = ground.settings, ground.database, ground.store
    channels = await stack.enter_async_context(Channels(settings))
    indexes = await asyncio.to_thread(pip_config.read, os.environ)
    await asyncio.to_thread(channels.admit, indexes.urls)
    relay = Relay(channels, store, database, settings)
    await relay.start()
    stack.push_async_callback(relay.close)
    state = settings.state_directory
    generations = relay.generations.of
    solver = Solver(state / "solver", settings, mirror=relay.url_for, generations=generations, failure=relay.failure)
    archives = Archives(store, channels, database)
    locks = Locks(database, ground.cluster.claims, FORMS, settings)
    conda = CondaPinner(
        settings,
        locks,
        solver,
        channels,
        relay,
        archives.complete,
        ground.upstream.location,
        archives.wheel,
        state / "pip",
        tuple(indexes.directories),
    )
    stack.push_async_callback(conda.close)
    reloader.add(channels, relay, solver, locks, conda)
    return conda, archives


def _logins(settings: Settings, cluster: ClusterBackend, audit: Audit) -> Logins:
    logins = Logins(settings, cluster.secrets)
    logins.on_event = lambda decision, uid, registry: audit.note(
        decision, door="grpc", uid=uid, upstreams=(registry,) if registry else ()
    )
    return logins


async def _expire(cluster: ClusterBackend, others: tuple[Expires, ...]) -> None:
    while True:
        for room in others:
            room.expire()
        try:
            count = await cluster.expire()
            if count:
                log.info("expired", records=count)
        except WaveletError as error:
            log.warning("what has expired could not be removed", because=error.message)
        await asyncio.sleep(EXPIRY_INTERVAL)
