"""Fixtures: a registry that misbehaves, a daemon as a process, and a client that verifies what it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from pulls import Client

from doubles.registry import Registry
from lab.daemon import Daemon


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that asks for every tag again, shared by the tests of a module."""
    daemon = Daemon(
        tmp_path_factory.mktemp("node") / "state", WAVELET_UPSTREAM_TAG_TTL=0, WAVELET_UPSTREAM_ACCESS_TTL=0
    )
    yield daemon.start()
    daemon.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(40)) as opened:
        yield opened


@pytest.fixture
def client(node: Daemon, session: aiohttp.ClientSession) -> Client:
    return Client(session, node.url)
