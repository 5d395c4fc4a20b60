"""Fixtures: a registry double, and clients with settings of choice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from doubles.registry import Registry
from wavelet.config import Settings
from wavelet.image.reference import Reference, Repository
from wavelet.upstream import ladder, retry
from wavelet.upstream.client import Upstream
from wavelet.upstream.credentials import Logins


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Retry without long waits, with no proxy and no auth files of whoever runs the tests."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(ladder, "REFUSAL_MEMORY", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("wavelet.upstream.credentials.paths_of", lambda uid: [])


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture
async def second() -> AsyncIterator[Registry]:
    async with Registry(host="127.0.0.2") as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that makes a client; its arguments are settings of `upstream`."""
    async with AsyncExitStack() as stack:

        async def make(listen: str = "127.0.0.1:9090", **upstream: Any) -> Upstream:
            settings = msgspec.convert({"listen": listen, "upstream": upstream}, Settings)
            return await stack.enter_async_context(Upstream(settings, Logins(settings)))

        yield make


@pytest.fixture
async def upstream(client: Callable[..., Any]) -> Upstream:
    made: Upstream = await client()
    return made


@pytest.fixture
def tool(registry: Registry) -> Reference:
    """An image of two layers at the double: `lab/tool:1`."""
    registry.add_image("lab/tool", "1", [b"first" * 1000, b"second" * 50_000])
    return Reference(Repository(registry.host, "lab/tool"), "1")
