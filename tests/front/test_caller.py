"""The caller of an HTTP request, behind a real listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from wavelet.config import Settings
from wavelet.errors import AccessRefused
from wavelet.front import operations
from wavelet.front.keys import IDENTITY
from wavelet.front.listener import Listening, listen
from wavelet.front.middlewares import caller_middleware, error_middleware
from wavelet.host.peers import Peers
from wavelet.host.uids import unreadable
from wavelet.requests.access import AccessRules

RULES = AccessRules(0)


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    async def who(request: web.Request) -> web.Response:
        return web.json_response({"uid": request[IDENTITY].uid})

    app = web.Application(middlewares=[error_middleware, caller_middleware(RULES, b"key")])
    app.router.add_get("/who", who)
    operations.add_routes(app)
    listening = await listen(app, Settings(listen="127.0.0.1:0"))
    yield listening
    await listening.close()


async def test_a_caller_of_whom_the_kernel_says_nothing_is_refused_and_watchers_are_answered(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault G2: an identity that cannot be read is refused, at this door too."""

    def fail(_peers: Peers, _transport: asyncio.BaseTransport) -> int | None:
        raise unreadable("it is closed")

    monkeypatch.setattr(Peers, "uid_of", fail)
    base = "http://{}:{}".format(*listening.address)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/who") as response:
            assert response.status == AccessRefused.status
            assert "the kernel does not say who calls" in (await response.json())["message"]
        async with session.get(f"{base}/healthz") as response:
            assert response.status == 200


@pytest.mark.parametrize(("owner", "trusted", "seen"), [(0, True, 0), (0, False, None), (1000, False, 1000)])
async def test_root_is_nobody_where_the_site_says_so(
    listening: Listening, monkeypatch: pytest.MonkeyPatch, owner: int, trusted: bool, seen: int | None
) -> None:
    """Fault G12: callers of a root-run `socat` or `sshd` forward count as root."""
    monkeypatch.setattr(Peers, "uid_of", lambda *_: owner)
    monkeypatch.setattr(RULES, "root_over_http", trusted)
    url = "http://{}:{}/who".format(*listening.address)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert await response.json() == {"uid": seen}
