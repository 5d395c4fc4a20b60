"""The wiring: a daemon's services, built and joined from its state up to its doors, which `app` opens.

Each builder takes what lies below it and returns a small value with what others need of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from wavelet import __version__
from wavelet.daemon_status import DaemonStatus, RulesStatus
from wavelet.engine.architecture import own_platform
from wavelet.front import operations
from wavelet.front.connections import Activity, counting
from wavelet.front.grpc.services import Services
from wavelet.front.middlewares import Guard, caller_middleware, error_middleware
from wavelet.front.packs.routes import PackDoor
from wavelet.front.registry.discovery import Discovery
from wavelet.front.registry.images import NamedImages
from wavelet.front.registry.local_names import LocalNames
from wavelet.front.registry.named_plans import NamedPlans
from wavelet.front.registry.own_names import OwnHosts
from wavelet.front.registry.pushes import PushDoor
from wavelet.front.registry.routes import RegistryDoor
from wavelet.front.registry.scope import ScopeOpener
from wavelet.front.registry.service import RegistryService
from wavelet.front.registry.sif_names import SifNames
from wavelet.front.registry.sif_plans import SifPlans
from wavelet.front.registry.tag_holders import TagHolders
from wavelet.front.sif.routes import SifDoor
from wavelet.front.wave.endpoint import Endpoint
from wavelet.front.wave.routes import add_routes as add_wave_routes
from wavelet.hosted.own_registry import called_by
from wavelet.logs import LogSettings
from wavelet.packs.library import PackLibrary
from wavelet.reload.reloader import Reloader
from wavelet.requests.access import AccessRules
from wavelet.requests.cache import Cache
from wavelet.requests.frozen_content import FrozenContent
from wavelet.requests.mirroring import Mirroring
from wavelet.requests.prefetch import Prefetcher
from wavelet.resolve.resolver import Resolver
from wavelet.resolve.unnamed_blobs import UnnamedBlobs
from wavelet.rules.model import RuleSet
from wavelet.rules.site_rules import SiteRules
from wavelet.store.scrub import Scrub
from wavelet.upkeep import Upkeep
from wavelet.wiring.images import ImageServices, build_conda, build_images
from wavelet.wiring.packs import build_packs
from wavelet.wiring.push import build_push
from wavelet.wiring.requests import RequestServices, build_requests
from wavelet.wiring.site import build_site
from wavelet.wiring.state import NodeState
from wavelet.wiring.upstream import UpstreamServices, build_upstream


async def build_services(app: web.Application, state: NodeState, reloader: Reloader, stack: AsyncExitStack) -> Services:
    """Build the services over the state, put the HTTP doors into `app`, and return what the gRPC door calls.

    Raises:
        ConfigError: one cannot be built with these settings, and why.
    """
    upkeep = Upkeep(stack)
    upstream = await build_upstream(state, upkeep)
    conda = await build_conda(state, upstream, upkeep)
    images = build_images(state, upstream, conda, upkeep)
    packs = build_packs(state, upstream, images, upkeep)
    push = build_push(state, upstream, images)
    site = await build_site(state, conda, packs, upkeep)
    upstream.tags.second_place = site.rules.second_place
    requests = build_requests(state, upstream, conda, images, push, site, upkeep)
    sifs = SifPlans(requests.codec, own_platform())
    registry_door, sif_door = _build_image_doors(
        state, upstream, images, requests, sifs, NamedPlans(site.rules, conda.site), upkeep
    )
    resolver = images.resolver
    activity = Activity(lambda: state.store.fetching or resolver.running > 0 or requests.bindings.running > 0)
    status = _status_of(state, resolver, site.rules, packs)
    _add_middlewares(app, state, requests.rules, activity, upkeep)
    _add_operations(app, state, status)
    registry_door.add_routes(app)
    authority = state.settings.name_authority
    for endpoint in (Endpoint(authority), Endpoint(authority, "/sif", requests.sifs)):
        add_wave_routes(app, requests.requests, requests.inspection, endpoint, conda.site, state.audit)
    PackDoor(packs, authority).add_routes(app)
    sif_door.add_routes(app)  # after Wave's, of which some lie below it
    _keep_up(state, FrozenContent(requests.served.frozen, images.memo, state.store, resolver), upkeep, reloader)
    return Services(
        requests=requests.requests,
        inspection=requests.inspection,
        resolver=resolver,
        locks=conda.locks,
        cache=Cache(state.store, requests.served, state.hosted, state.cluster.records),
        prefetcher=Prefetcher(resolver, state.store, requests.served),
        mirroring=Mirroring(resolver, push.mirror, push.images),
        logins=upstream.logins,
        rules=requests.rules,
        activity=activity,
        site=conda.site,
        site_rules=site.rules,
        plans=requests.plans,
        sifs=sifs,
        state=status,
        reloads=reloader,
        packs=packs,
        audit=state.audit,
    )


def _build_image_doors(
    state: NodeState,
    upstream: UpstreamServices,
    images: ImageServices,
    requests: RequestServices,
    sifs: SifPlans,
    plans: NamedPlans,
    upkeep: Upkeep,
) -> tuple[RegistryDoor, SifDoor]:
    settings, resolver, pulls, served = state.settings, images.resolver, requests.requests.pulls, requests.served
    named = NamedImages(resolver, pulls, served, state.store, requests.patience, plans, settings)
    upkeep.add_configurable(named)
    discovery = Discovery(named, resolver, requests.requests, served, upstream.client, plans)
    unnamed = UnnamedBlobs(state.store, upstream.client, upstream.grants, upstream.fetcher)
    reserved, rules = settings.reserved_names, requests.rules
    own_hosts = OwnHosts(called_by(settings))
    meant = partial(own_hosts.meant, reserved=reserved)
    scopes = ScopeOpener(pulls, rules, served, TagHolders(rules, requests.requests.lookup), meant)
    content = RegistryService(named, discovery, resolver, unnamed, plans)
    sif = SifNames(named, resolver, sifs, plans)
    registry = RegistryDoor(
        scopes,
        content,
        LocalNames(state.hosted.images, plans),
        sif,
        PushDoor(state.hosted, rules, scopes, content, state.audit, reserved=reserved, own_hosts=own_hosts),
        state.audit,
        reserved=reserved,
        own_hosts=own_hosts,
    )
    return registry, SifDoor(scopes, sif, state.audit, reserved=reserved)


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
    app[operations.CHECKS] = (state.cluster.check, state.sif.check, state.store.check)
    operations.add_routes(app)
    operations.add_status(app, status)


def _keep_up(state: NodeState, frozen: FrozenContent, upkeep: Upkeep, reloader: Reloader) -> None:
    """Start what goes on by itself, and hand all services to the reload."""
    scrub = Scrub(state.store.integrity, state.database, state.settings)
    upkeep.stack.callback(scrub.stopped)
    for task in (upkeep.run(state.cluster), scrub.run(), frozen.run(), state.sif.run()):
        upkeep.stack.callback(asyncio.create_task(task).cancel)
    upkeep.add_expiring(state.hosted)
    upkeep.add_configurable(state.cluster, state.sif, state.store, state.hosted, scrub, LogSettings(state.settings))
    reloader.add(*upkeep.configurable)
    reloader.on_event = lambda decision, reason: state.audit.note(decision, reason=reason)


def _rules_of(rules: RuleSet) -> RulesStatus:
    return {
        "count": len(rules.rules),
        "directory": rules.directory,
        "problems": list(rules.problems),
        "closed": rules.is_closed,
    }


def _status_of(
    state: NodeState, resolver: Resolver, rules: SiteRules, packs: PackLibrary
) -> Callable[[], DaemonStatus]:
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
            "rules": _rules_of(rules.current),
            "packs": {"count": len({each.name for each in packs.listing() if each.pack}), "problems": packs.problems},
        }

    return tell
