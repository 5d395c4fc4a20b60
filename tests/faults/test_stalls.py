"""A registry that falls silent in the middle: the daemon in this process, with short patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
import pytest
from pulls import Broken, Client, near, noise, sha256

from doubles.registry import Registry
from wavelet.app import running
from wavelet.config import Settings
from wavelet.resolve import archives
from wavelet.upstream import bodies, retry, transport


@pytest.fixture
async def client(
    tmp_path: Path, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    monkeypatch.setattr(bodies, "STALL_TIMEOUT", 0.5)
    monkeypatch.setattr(transport, "FIRST_BYTE_TIMEOUT", 0.5)
    monkeypatch.setattr(retry, "REQUESTS", replace(retry.REQUESTS, first_delay=0.01))
    monkeypatch.setattr(archives, "RESUMING", replace(archives.RESUMING, first_delay=0.01))
    monkeypatch.setattr("wavelet.upstream.credential_sources.paths_of", lambda uid: [])
    settings = msgspec.convert({"listen": "127.0.0.1:0", "state": str(tmp_path), "grace_period": 1}, Settings)
    async with running(settings) as address:
        yield Client(session, f"http://{address}")


async def test_a_silent_transfer_is_taken_up_again(registry: Registry, client: Client) -> None:
    image = registry.add_image("lab/stall", "1", [noise(700_000)])
    registry.fault(image["layers"][0], method="GET", times=2, stall=200_000)
    begun = time.monotonic()
    await client.pull(near(registry, "lab/stall"), "1")
    assert time.monotonic() - begun < 10
    assert registry.count("GET", image["layers"][0]) == 3


async def test_readers_of_a_transfer_that_stays_silent_are_let_go(registry: Registry, client: Client) -> None:
    image = registry.add_image("lab/silent", "1", [noise(700_000)])
    digest, name = image["layers"][0], near(registry, "lab/silent")
    await client.manifest(name, "1")
    registry.fault(digest, method="GET", times=1, stall=200_000)
    silent = registry.fault(digest, method="GET", skip=1, stall=0)
    answers = await asyncio.wait_for(
        asyncio.gather(*(client.blob(name, digest) for _ in range(3)), return_exceptions=True), 30
    )
    for answer in answers:
        assert isinstance(answer, Broken) or getattr(answer, "status", 0) == 502
    registry.clear_faults()
    assert silent.hits
    assert sha256((await client.blob(name, digest)).body) == digest


async def test_a_registry_that_takes_the_question_and_says_nothing(registry: Registry, client: Client) -> None:
    registry.add_image("lab/mute", "1")
    registry.fault("/manifests/", stall=0, delay=20)
    begun = time.monotonic()
    got = await client.manifest(near(registry, "lab/mute"), "1")
    assert got.status == 502
    assert registry.host in got.message
    assert time.monotonic() - begun < 15
    assert (await client.ask("GET", "/healthz")).status == 200
