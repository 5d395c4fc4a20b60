"""Black box: bytes that change on the disk of the state directory. None of them is served, or made something of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pulls import Client, near, noise

from doubles.registry import Registry, small_layer
from lab.daemon import Daemon
from lab.processes import wait_for

AUGMENTED = {"env": ["A=1"]}


@pytest.fixture
async def one_off() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a client that keeps no connection, for daemons that are started again."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as opened:
        yield opened


def flip(path: Path) -> None:
    """Change a byte of a blob; its size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def augmented(client: Client, registry: Registry, config: dict[str, Any]) -> str:
    """Ask for an augmented image and pull it; return the digest of its manifest."""
    body = {"containerImage": f"{registry.host}/lab/base:1", "containerConfig": config}
    asked = await client.ask("POST", "/v1alpha2/container", json=body)
    assert asked.status == 200, asked.body
    name, _, tag = asked.json()["targetImage"].partition("/")[2].rpartition(":")
    await client.pull(name, tag)
    return (await client.manifest(name, tag)).headers["Docker-Content-Digest"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_flipped_byte_is_neither_served_nor_made_something_of(
    registry: Registry,
    one_off: aiohttp.ClientSession,
    start_daemon: Callable[..., Daemon],
    state_dir: Path,
    restarted: bool,
) -> None:
    """Fault G4: served with the wrong bytes under the right digest, and a new image made of the damaged config."""
    layer = small_layer({"a": noise(600_000)})
    registry.add_image("lab/base", "1", [layer])
    daemon = start_daemon()
    client = Client(one_off, daemon.url)
    digests = await client.pull(near(registry, "lab/base"), "1")
    expected = await augmented(client, registry, AUGMENTED)
    daemon.settle()
    for path in list((state_dir / "blobs").glob("*/*/*")):
        flip(path)
    if restarted:
        daemon.stop()
        daemon.start()
    assert await augmented(client, registry, {"env": ["B=2"]}) != expected
    assert set(await client.pull(near(registry, "lab/base"), "1")) == set(digests)
    assert await augmented(client, registry, AUGMENTED) == expected
    assert "Traceback" not in daemon.log()


async def test_damage_is_counted_and_found_after_a_crash(
    registry: Registry, one_off: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], state_dir: Path
) -> None:
    """Fault G4: damage in blobs is found by a check after an unclean stop, healed, and counted in a metric."""
    image = registry.add_image("lab/base", "1", [noise(600_000)])
    daemon = start_daemon()
    client = Client(one_off, daemon.url)
    digests = await client.pull(near(registry, "lab/base"), "1")
    daemon.settle()
    daemon.kill()
    flip(next((state_dir / "blobs").glob(f"*/*/{image['layers'][0].partition(':')[2]}")))
    daemon.start()

    def found() -> bool:
        return 'wavelet_store_damaged_total{found_by="scrub"} 1.0' in daemon.get("/metrics").body.decode()

    wait_for(found, "the damage to be found", 20)
    assert set(await client.pull(near(registry, "lab/base"), "1")) == set(digests)
