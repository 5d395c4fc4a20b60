"""The daemon: it takes its state directory, has its services built, opens the doors, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web

from wavelet import __version__
from wavelet.config import Settings, Source, join_address
from wavelet.config.keys import doubtful_variables
from wavelet.defects import handle_loop_error
from wavelet.front import operations
from wavelet.front.connections import Activity
from wavelet.front.grpc.services import Services
from wavelet.front.listener import Listening, listen
from wavelet.front.open_socket import open_plain
from wavelet.front.stopping import say_what_is_waited_for
from wavelet.host import liveness
from wavelet.host.descriptors import raise_limit
from wavelet.host.service import Service, take_over
from wavelet.kinds.table import KINDS, Table
from wavelet.lazy_module import LazyModule
from wavelet.reload.reloader import Reloader
from wavelet.store.database import Database
from wavelet.store.state_directory import explain_os_errors, lock_state_directory
from wavelet.wiring.services import build_services
from wavelet.wiring.state import open_state

if TYPE_CHECKING:
    from wavelet.front.grpc import server as grpc_server
    from wavelet.front.grpc.server import Serving
else:
    grpc_server = LazyModule("wavelet.front.grpc.server")  # its libraries take long to import

log = structlog.get_logger()

GARBAGE_THRESHOLDS = 700, 10, 1_000
"""When young, middle and old objects are looked at for reference cycles. The last is rare: with thousands of requests
pending, one look at everything stops the loop for a second."""

CLOSING_LIMIT = 30.0
"""Seconds that a stop takes at most once the transfers have ended: work is stopped, and what is known is written."""

HURRY_LIMIT = 2.0
"""Seconds that an end takes at most that somebody has asked for twice."""

EXIT_HURRIED = 130
"""The exit status then, which is that of a command that Ctrl-C has ended."""


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    idle: asyncio.Event | None = None,
    source: Source | None = None,
    service: Service | None = None,
    hurry: asyncio.Event | None = None,
    kinds: Table = KINDS,
) -> AsyncIterator[str]:
    """Start a daemon and give its address; at the end of the context stop it, with the grace period for transfers.

    `hurry` ends the grace period; `idle` is set when nobody has had need of it for `idle_exit` seconds; `source` is
    where the settings were read, and are read again; `service` is what a service manager has given it, and hears what
    becomes of it. `kinds` are those of nodes that plans can have.

    Raises:
        ConfigError: it cannot run with these settings, and why.
    """
    service, hurry = service or Service(), hurry or asyncio.Event()
    async with AsyncExitStack() as stack:
        state = settings.state_directory
        stack.enter_context(lock_state_directory(state))
        plain = await open_plain(settings, service.sockets.http)
        stack.callback(plain.close)
        address = join_address(*plain.getsockname()[:2])
        asked, settings = settings, msgspec.structs.replace(settings, listen=address)
        reloader = Reloader(source, asked, settings)
        if source is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.request)
        app = web.Application(client_max_size=0)
        with explain_os_errors(state):
            node = await open_state(settings, stack, kinds)
            services = await build_services(app, node, reloader, stack)
            grpc = await _open_grpc(settings, services, service)
        try:
            listening = await listen(app, settings, plain)
        except BaseException:
            await _close_grpc(grpc, 0.0, hurry)
            raise
        stack.push_async_callback(_close_doors, listening, grpc, services.activity, hurry)
        reloader.add(listening)
        ready = app[operations.READY]
        ready["ready"] = True
        stack.callback(ready.clear)
        _report_to(service, node.database, listening, reloader, stack)
        if idle is not None and settings.idle_exit:
            stack.callback(asyncio.create_task(_announce_idle(services.activity, settings.idle_exit, idle)).cancel)
        log.info("serving", address=address, state=str(state), limit=node.store.limit, version=__version__)
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


async def _open_grpc(settings: Settings, services: Services, service: Service) -> Serving | None:
    """Open the gRPC door, where the settings want it."""
    if not settings.grpc.enabled:
        return None
    return await grpc_server.serve(settings, services, {"user": service.sockets.grpc, "admin": service.sockets.admin})


async def _close_grpc(grpc: Serving | None, grace: float, hurry: asyncio.Event) -> None:
    if grpc is not None:
        await grpc.close(grace, hurry)


async def _close_doors(listening: Listening, grpc: Serving | None, activity: Activity, hurry: asyncio.Event) -> None:
    """Close both doors, at one time: they share the grace period."""
    saying = asyncio.create_task(say_what_is_waited_for(activity, listening.grace_period))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(listening.close(hurry))
            group.create_task(_close_grpc(grpc, listening.grace_period, hurry))
    finally:
        saying.cancel()


async def _announce_idle(activity: Activity, seconds: float, idle: asyncio.Event) -> None:
    await activity.wait_idle(seconds)
    log.info("nobody has had need of this daemon for a while", seconds=seconds)
    idle.set()


async def serve(settings: Settings, source: Source) -> None:
    """Run a daemon until SIGTERM or SIGINT, or until it is idle where `idle_exit` is set; SIGHUP reads `source` again.

    Raises:
        ConfigError: it cannot run with these settings, and why.
    """
    for sentence in doubtful_variables(source.environment):
        log.warning(sentence)
    raise_limit()
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(handle_loop_error)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, hurry)
    async with running(settings, stop, source, take_over(os.environ), hurry):
        # What lives as long as the daemon is not looked at again, which would hold up requests for milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        await stop.wait()


def _stop(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Stop at the first signal; at the second one wait for nobody, and not for long for what is being made either."""
    if not stop.is_set():
        stop.set()
    elif not hurry.is_set():
        log.info("ending at once")
        hurry.set()
        # Whatever moment it ends at, what is on the disk is whole.
        asyncio.get_running_loop().call_later(HURRY_LIMIT, os._exit, EXIT_HURRIED)
