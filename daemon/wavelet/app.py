"""The daemon: builds every room, joins them, serves, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog
from aiohttp import web

from wavelet import __version__
from wavelet.cluster import claims as cluster_claims
from wavelet.cluster.claims import Claims, DirectoryClaims, SqliteClaims
from wavelet.cluster.directory import DirectoryRecords
from wavelet.cluster.key import key_path, load_key
from wavelet.cluster.records import Records
from wavelet.cluster.sealed import SealedLogins
from wavelet.cluster.sqlite import SqliteRecords
from wavelet.config import ConfigError, Settings, Source, join_address, parse_size
from wavelet.errors import WaveletError
from wavelet.front import operations
from wavelet.front.activity import Activity, counting
from wavelet.front.caller import caller_middleware
from wavelet.front.grpc.behind import Behind
from wavelet.front.guard import Guard
from wavelet.front.listener import Listening, listen, open_plain
from wavelet.front.refusals import refusals
from wavelet.front.registry.routes import RegistryDoor
from wavelet.front.registry.scope import Scopes
from wavelet.front.wave.routes import add_routes as add_wave_routes
from wavelet.pin import access, tags
from wavelet.pin.access import Access
from wavelet.pin.conda import index_files, locks, pip_config
from wavelet.pin.conda.locks import Locks
from wavelet.pin.conda.pinner import CondaPinner
from wavelet.pin.conda.relay import Relay
from wavelet.pin.conda.solver import Solver
from wavelet.pin.tags import Pinner
from wavelet.reload.parts import House, Packages, Site, Upstreams, prepare_log
from wavelet.reload.reloader import Reloader
from wavelet.resolve import archives, journal, layers, memo, requests
from wavelet.resolve.access import AccessRules
from wavelet.resolve.archives import Archives
from wavelet.resolve.audit import Audit
from wavelet.resolve.cache import Cache
from wavelet.resolve.contents import Contents
from wavelet.resolve.journal import Journals
from wavelet.resolve.layers import Layers
from wavelet.resolve.makers import makers
from wavelet.resolve.memo import Answers, Memo
from wavelet.resolve.naming import Naming
from wavelet.resolve.prefetch import Prefetcher
from wavelet.resolve.requests import ContainerRequests
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.work import Tools
from wavelet.resolve.workers import Workers
from wavelet.store import content
from wavelet.store.content import ContentStore, bytes_held
from wavelet.store.database import Database
from wavelet.store.filesystem import MEMORY_FILESYSTEMS, filesystem_type
from wavelet.systemd import liveness
from wavelet.systemd.service import Service, take_over
from wavelet.upstream.channels import Channels
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins

if TYPE_CHECKING:
    from wavelet.front.grpc.server import Serving

log = structlog.get_logger()

GARBAGE_THRESHOLDS = 700, 10, 1_000
"""When young, middle and old objects are looked at for reference cycles. The last is rare: with thousands of requests
pending, one look at everything stops the loop for a second."""

CLOSING_LIMIT = 30.0
"""Seconds that a stop takes at most once the transfers have ended: work is stopped, and what is known is written."""

EXPIRY_INTERVAL = 3600.0
"""Seconds between two looks for what is past its lifetime."""

_ROOMS = (content, memo, tags, access, layers, requests, archives, journal, index_files, locks, liveness)
_SCHEMA = "".join(room.SCHEMA for room in _ROOMS)


class Expires(Protocol):
    """What forgets by age."""

    def expire(self) -> None:
        """Forget what is too old to be of use."""


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    idle: asyncio.Event | None = None,
    source: Source | None = None,
    service: Service | None = None,
) -> AsyncIterator[str]:
    """Start a daemon and give its address; at the end of the context stop it, with the grace period for transfers.

    `idle` is set when nobody has had need of it for `idle_exit` seconds; `source` is where the settings were read, and
    are read again; `service` is what a service manager has given it, and hears what becomes of it.

    Raises:
        ConfigError: it cannot run with these settings, and why.
    """
    service = service or Service()
    async with AsyncExitStack() as stack:
        state = settings.state_directory
        stack.enter_context(_owned(state))
        audit = await asyncio.to_thread(Audit.of, settings)
        stack.callback(audit.close)
        plain = await open_plain(settings, service.sockets.http)
        stack.callback(plain.close)
        address = join_address(*plain.getsockname()[:2])
        asked, settings = settings, msgspec.structs.replace(settings, listen=address)
        reloader = Reloader(source, asked, settings)
        if source is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.request)
        database = Database(state / "node.db", _SCHEMA, synchronous="NORMAL")
        stack.callback(database.close)
        key = await asyncio.to_thread(load_key, key_path(settings))
        records = _records(settings, state, key)
        stack.push_async_callback(records.close)
        in_memory = filesystem_type(state) in MEMORY_FILESYSTEMS
        limit = settings.store_limit(bytes_held(database), in_memory=in_memory)
        claims = _claims(settings, state, key, stack)
        stack.push_async_callback(claims.close)
        store = ContentStore(state, database, limit)
        stack.push_async_callback(store.close)
        logins = _logins(settings, key, audit)
        stack.push_async_callback(logins.close)
        upstream = await stack.enter_async_context(Upstream(settings, logins))
        app = web.Application(client_max_size=0)
        rooms = database, store, records, claims, logins, upstream, audit
        behind = await _furnish(app, settings, reloader, *rooms, key, stack)
        grpc = await _open_grpc(settings, behind, service)
        try:
            listening = await listen(app, settings, plain)
        except BaseException:
            await _close_grpc(grpc, 0.0)
            raise
        stack.push_async_callback(_close_doors, listening, grpc)
        reloader.add(lambda _, new: listening.prepare(new))
        ready = app[operations.READY]
        ready["ready"] = True
        stack.callback(ready.clear)
        _report_to(service, database, listening, reloader, stack)
        if idle is not None and settings.idle_exit:
            stack.callback(asyncio.create_task(_announce_idle(behind.activity, settings.idle_exit, idle)).cancel)
        log.info("serving", address=address, state=str(state), limit=limit, version=__version__)
        async with reloader.running():
            reloader.announce(False)
            yield address
        log.info("stopping")


def _report_to(
    service: Service, database: Database, listening: Listening, reloader: Reloader, stack: AsyncExitStack
) -> None:
    """Have the service manager hear of reloads, of the stop, and that the daemon is alive."""
    if service.watchdog:
        watched = liveness.database_writes(database), liveness.listener_answers(*listening.address)
        stack.callback(asyncio.create_task(liveness.keep_alive(service, *watched)).cancel)
    stack.callback(lambda: service.stopping(listening.grace_period + CLOSING_LIMIT))
    reloader.announce = service.announcer(f"serving {join_address(*listening.address)}")


async def _open_grpc(settings: Settings, behind: Behind, service: Service) -> Serving | None:
    """Open the gRPC door, whose libraries take long to import, where the settings want it."""
    if not settings.grpc.enabled:
        return None
    from wavelet.front.grpc.server import serve as serve_grpc  # noqa: PLC0415

    return await serve_grpc(settings, behind, {"user": service.sockets.grpc, "admin": service.sockets.admin})


async def _close_grpc(grpc: Serving | None, grace: float) -> None:
    if grpc is not None:
        await grpc.close(grace)


async def _close_doors(listening: Listening, grpc: Serving | None) -> None:
    """Close both doors, at one time: they share the grace period."""
    async with asyncio.TaskGroup() as group:
        group.create_task(listening.close())
        group.create_task(_close_grpc(grpc, listening.grace_period))


async def _furnish(
    app: web.Application,
    settings: Settings,
    reloader: Reloader,
    database: Database,
    store: ContentStore,
    records: Records,
    claims: Claims,
    logins: Logins,
    upstream: Upstream,
    audit: Audit,
    key: bytes,
    stack: AsyncExitStack,
) -> Behind:
    """Build the rooms between the doors and the store, and put the doors into `app`."""
    asking = settings.upstream
    grants = Access(database, upstream, ttl=asking.access_ttl, grace=asking.grace)
    stack.push_async_callback(grants.close)
    pinner = Pinner(database, grants, asking.aliases, tag_ttl=asking.tag_ttl, grace=asking.grace)
    opened = Contents(store, upstream, records, layer_limit=parse_size(asking.layer_limit, "upstream.layer_limit"))
    named = Layers(store, opened, database, inflated_limit=parse_size(asking.inflated_limit, "upstream.inflated_limit"))
    stack.callback(named.close)
    images = Memo(database)
    site = Site(settings.conda)
    conda, archives = await _conda(settings, reloader, site, database, store, claims, upstream, stack)
    workers = Workers(settings.conda.workers)
    stack.push_async_callback(workers.close)
    journals = Journals(database)
    tools = Tools(store, upstream, named, archives, claims, workers, records, settings.name_authority)
    made_by = makers(settings.conda)
    resolver = Resolver(store, upstream, logins, pinner, grants, opened, named, images, conda, journals, tools, made_by)
    stack.push_async_callback(resolver.close)
    answers = Answers(database, images, settings.store.retention)
    rules = AccessRules(os.geteuid(), frozenset(settings.engine_uids))
    container_requests = ContainerRequests(
        resolver,
        records,
        named,
        answers,
        database,
        upstream,
        Naming(records, logins, named, key),
        rules,
        audit,
        lifetime=settings.records.lifetime,
    )
    scopes = Scopes(resolver, container_requests, answers, store, upstream, rules, site, lease=settings.store.lease)
    own_hosts = frozenset({settings.name_authority, settings.listen})
    expiry = asyncio.create_task(_expire((records, claims, logins), (grants, pinner, images, answers, conda, journals)))
    stack.callback(expiry.cancel)
    activity = Activity(lambda: store.fetching or resolver.running > 0)
    app[operations.READY] = {}
    guard = Guard(settings)
    reloader.add(Upstreams(upstream, logins, grants, pinner, opened, named).prepare)
    reloader.add(House(store, records, resolver, answers, container_requests, scopes, rules, guard).prepare)
    reloader.add(prepare_log)
    reloader.told = lambda decision, reason: audit.note(decision, reason=reason)
    app.middlewares.extend([refusals, guard.refuse_foreign, caller_middleware(rules, key), counting(activity)])
    operations.add_routes(app)
    state = _state_teller(settings, resolver, store)
    operations.add_status(app, state)
    RegistryDoor(scopes, audit, reserved=settings.reserved_names, own_hosts=own_hosts).add_routes(app)
    add_wave_routes(app, container_requests, settings.name_authority, site)
    return Behind(
        container_requests,
        resolver,
        Cache(store, answers),
        Prefetcher(resolver, store, answers),
        logins,
        rules,
        activity,
        site,
        state,
        reloader,
        audit,
    )


def _state_teller(settings: Settings, resolver: Resolver, store: ContentStore) -> Callable[[], operations.State]:
    started = time.time()

    def tell() -> operations.State:
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


async def _conda(
    settings: Settings,
    reloader: Reloader,
    site: Site,
    database: Database,
    store: ContentStore,
    claims: Claims,
    upstream: Upstream,
    stack: AsyncExitStack,
) -> tuple[CondaPinner, Archives]:
    """Build what solves for packages and fetches them."""
    channels = await stack.enter_async_context(Channels(settings))
    indexes = await asyncio.to_thread(pip_config.read, os.environ)
    await asyncio.to_thread(channels.admit, indexes.urls)
    relay = Relay(channels, store, database, ttl=settings.conda.repodata_ttl)
    await relay.start()
    stack.push_async_callback(relay.close)
    state = settings.state_directory
    limit, max_age = settings.conda.solve_limit, settings.conda.repodata_ttl
    solver = Solver(state / "solver", limit=limit, max_age=max_age, mirror=relay.url_for)
    archives = Archives(store, channels, database)
    locks = Locks(database, claims, settings.conda.renew_names)
    conda = CondaPinner(
        settings.conda,
        locks,
        solver,
        channels,
        relay,
        archives.complete,
        upstream.location,
        state / "pip",
        tuple(indexes.directories),
    )
    stack.push_async_callback(conda.close)
    reloader.add(Packages(channels, relay, solver, locks, conda, site).prepare)
    return conda, archives


def _logins(settings: Settings, key: bytes, audit: Audit) -> Logins:
    shared = settings.records.directory if settings.records.share_logins else ""
    logins = Logins(settings, SealedLogins(Path(shared), key) if shared else None)
    logins.told = lambda decision, uid, registry: audit.note(
        decision, door="grpc", uid=uid, upstreams=(registry,) if registry else ()
    )
    return logins


def _claims(settings: Settings, state: Path, key: bytes, stack: AsyncExitStack) -> Claims:
    if settings.records.directory:
        return DirectoryClaims(Path(settings.records.directory), key)
    database = Database(state / "records.db", cluster_claims.SCHEMA, synchronous="FULL")
    stack.callback(database.close)
    return SqliteClaims(database, key)


def _records(settings: Settings, state: Path, key: bytes) -> Records:
    lifetime = settings.records.lifetime
    if settings.records.directory:
        return DirectoryRecords(Path(settings.records.directory), key, lifetime)
    return SqliteRecords(state / "records.db", key, lifetime)


@contextlib.contextmanager
def _owned(state: Path) -> Iterator[None]:
    """Hold the state directory for this process alone.

    Raises:
        ConfigError: it cannot be made or written, or another daemon holds it.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"state: {state} cannot be used: {error.strerror}; choose another with --state", field="state"
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode().strip() or "another process"
            raise ConfigError(f"state: {state} belongs to a running wavelet (process {owner})", field="state") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


async def _expire(shared: tuple[Records | Claims | Logins, ...], others: tuple[Expires, ...]) -> None:
    while True:
        for room in others:
            room.expire()
        for keeper in shared:
            try:
                count = await keeper.expire()
                if count:
                    log.info("expired", records=count)
            except WaveletError as error:
                log.warning("what has expired could not be removed", because=error.message)
        await asyncio.sleep(EXPIRY_INTERVAL)


async def _announce_idle(activity: Activity, seconds: float, idle: asyncio.Event) -> None:
    await activity.wait_idle(seconds)
    log.info("nobody has had need of this daemon for a while", seconds=seconds)
    idle.set()


async def serve(settings: Settings, source: Source) -> None:
    """Run a daemon until SIGTERM or SIGINT, or until it is idle where `idle_exit` is set; SIGHUP reads `source` again.

    Raises:
        ConfigError: it cannot run with these settings, and why.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, stop, source, take_over(os.environ)):
        # What lives as long as the daemon is not looked at again, which would hold up requests for milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        await stop.wait()
