"""A daemon's services in the test's process, wired as a daemon wires them, with its HTTP doors behind a client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from wavelet.config import Settings
from wavelet.front.grpc.services import Services
from wavelet.kinds.table import KINDS, Table
from wavelet.reload.reloader import Reloader
from wavelet.wiring.services import build_services
from wavelet.wiring.state import open_state

Client = TestClient[web.Request, web.Application]


@contextlib.asynccontextmanager
async def open_services(
    state: Path, kinds: Table = KINDS, **settings_given: object
) -> AsyncIterator[tuple[Services, Client]]:
    """Build what a daemon with these kinds of nodes has over a state directory; opening it again is a restart."""
    settings, app = msgspec.convert({"state": str(state), **settings_given}, Settings), web.Application()
    async with contextlib.AsyncExitStack() as stack:
        opened = await open_state(settings, stack, kinds)
        services = await build_services(app, opened, Reloader(None, settings, settings), stack)
        yield services, await stack.enter_async_context(TestClient(TestServer(app)))
