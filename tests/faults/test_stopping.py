"""Stopping a daemon over a transfer that does not go on: what it waits for, what it says, and how it is hurried."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pulls import Client, near, noise

from doubles.registry import Registry
from lab.daemon import Daemon
from wavelet.client import AsyncClient

GRACE = 40.0
SOON = 10.0
"""Seconds that an end takes at most that waits for nobody, on a busy machine."""


class Stopped:
    """A daemon with a transfer that has stopped in the middle."""

    def __init__(self, daemon: Daemon, registry: Registry, path: str) -> None:
        self.daemon, self.registry, self.path = daemon, registry, path

    async def download(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Begin a download, and return once some of it has come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.daemon.port)
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert await asyncio.wait_for(reader.read(1000), SOON)
        return reader, writer

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.daemon.pid, number)

    async def says(self, pattern: str) -> None:
        """Return once the log has a line like this."""
        async with asyncio.timeout(SOON):
            while not re.search(pattern, self.daemon.log()):
                await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Return the exit status."""
        assert self.daemon._process is not None
        return await asyncio.to_thread(self.daemon._process.process.wait, SOON)


@pytest.fixture
async def stopped(tmp_path: Path, registry: Registry) -> AsyncIterator[Stopped]:
    image = registry.add_image("lab/slow", "1", [noise(3_000_000)])
    registry.fault(image["layers"][0], method="GET", stall=1_000_000)
    daemon = Daemon(tmp_path / "state", WAVELET_GRACE_PERIOD=GRACE)
    try:
        await asyncio.to_thread(daemon.start)
        name = near(registry, "lab/slow")
        async with aiohttp.ClientSession() as session:
            assert (await Client(session, daemon.url).manifest(name, "1")).status == 200
        yield Stopped(daemon, registry, f"/v2/{name}/blobs/{image['layers'][0]}")
    finally:
        daemon.kill()
        registry.clear_faults()


async def end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_client_that_has_gone_is_not_waited_for(stopped: Stopped, order: str) -> None:
    """Fault G9: a stop waited the whole grace although the only client had gone."""
    _, writer = await stopped.download()
    if order == "before":
        await end(writer)
    stopped.signal(signal.SIGTERM)
    if order == "after":
        await stopped.says("waiting for requests to end")
        await end(writer)
    begun = time.monotonic()
    assert await stopped.ended() == 0
    assert time.monotonic() - begun < SOON


async def test_the_first_interrupt_says_what_is_waited_for_and_the_second_ends(stopped: Stopped) -> None:
    """Fault D7: "stopping", 40 s of silence, and further Ctrl-C do nothing."""
    reader, writer = await stopped.download()
    stopped.signal(signal.SIGINT)
    await stopped.says(r"waiting for requests to end; a second Ctrl-C.*at_most='?40 s.*requests=1.*/blobs/sha256")
    begun = time.monotonic()
    stopped.signal(signal.SIGINT)
    assert await stopped.ended() in (0, 130)
    assert time.monotonic() - begun < SOON
    assert "Traceback" not in stopped.daemon.log()
    with contextlib.suppress(OSError):
        await asyncio.wait_for(reader.read(), SOON)
    await end(writer)


async def test_a_caller_over_grpc_is_waited_for_the_same_way(stopped: Stopped, tmp_path: Path) -> None:
    """Faults D7 and G9, at the other door."""
    stopped.registry.add_image("lab/slow", "other", [noise(1000)])
    asked = stopped.registry.fault("/manifests/other", delay=GRACE)
    image = f"{stopped.registry.host}/lab/slow:other"
    async with AsyncClient(f"unix:{tmp_path}/state/wavelet.sock") as client:
        call = asyncio.create_task(client.resolve(container_image=image, wait=60))
        async with asyncio.timeout(SOON):
            while not asked.hits:
                await asyncio.sleep(0.02)
        stopped.signal(signal.SIGTERM)
        await stopped.says("waiting for requests to end.*ContainerService/Resolve")
        call.cancel()
        begun = time.monotonic()
        assert await stopped.ended() == 0
        assert time.monotonic() - begun < SOON
        await asyncio.gather(call, return_exceptions=True)
