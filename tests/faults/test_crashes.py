"""Black box: killed in the middle of many pulls, and with a full disk. What is served afterwards is right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from pulls import Broken, Client, near, noise, verify

from doubles.registry import Registry
from lab.daemon import Daemon
from lab.disks import mounted

PULLS = 100
ROUNDS = 4
MEGABYTE = 1024 * 1024


def check_files(state: Path) -> int:
    """Check that every blob in its place is whole; return how many there are."""
    files = [path for path in (state / "blobs").glob("*/*/*") if path.is_file()]
    for path in files:
        hasher = hashlib.new(path.parent.parent.name)
        hasher.update(path.read_bytes())
        assert hasher.hexdigest() == path.name
    return len(files)


@pytest.mark.timeout(120)
async def test_killed_at_any_moment_it_starts_again_and_serves_no_wrong_byte(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], state_dir: Path
) -> None:
    moments = random.Random(int(os.environ.get("WAVELET_SEED", "11")))
    shared = [noise(400_000) for _ in range(4)]
    images = {}
    for number in range(16):
        name = f"lab/crash{number}"
        images[name] = registry.add_image(name, "1", [shared[number % 4], noise(600_000), noise(70_000)])
    registry.fault("/blobs/", rate=1_500_000)
    daemon = start_daemon()
    client = Client(session, daemon.url)
    names = [near(registry, name) for name in images]
    for _ in range(ROUNDS):
        pulls = [asyncio.create_task(client.pull(names[n % len(names)], "1")) for n in range(PULLS)]
        await asyncio.sleep(moments.uniform(0.1, 0.9))
        await asyncio.to_thread(daemon.kill)
        for end in await asyncio.gather(*pulls, return_exceptions=True):
            assert not isinstance(end, BaseException) or isinstance(end, Broken | TimeoutError), end
        check_files(state_dir)
        await asyncio.to_thread(daemon.start)
    registry.clear_faults()
    await asyncio.gather(*(client.pull(names[n % len(names)], "1") for n in range(PULLS)))
    await asyncio.to_thread(daemon.settle)
    assert check_files(state_dir) == 16 * 4 + 4  # manifests, configurations and two layers each, and the shared ones
    await registry.stop()
    await asyncio.gather(*(client.pull(name, "1") for name in names))
    assert "Traceback" not in daemon.log()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 100 MiB."""
    with mounted(tmp_path / "disk", "100m") as place:
        yield place


def fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // MEGABYTE):
            file.write(bytes(MEGABYTE))


async def test_a_full_disk_fails_what_does_not_fit_and_loses_nothing(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon], small_disk: Path
) -> None:
    small = registry.add_image("lab/small", "1", [noise(200_000)])
    large = registry.add_image("lab/large", "1", [noise(20 * MEGABYTE)])
    daemon = start_daemon(small_disk / "state", WAVELET_STORE_LIMIT="90MB")
    client = Client(session, daemon.url)
    await client.pull(near(registry, "lab/small"), "1")

    filler = small_disk / "filler"
    fill(filler, 30 * MEGABYTE)
    got = await client.blob(near(registry, "lab/large"), large["layers"][0])
    assert got.status == 507, got.body
    assert "no room" in got.message
    assert got.json()["errors"][0]["detail"]["fault"] == "wavelet"
    assert registry.count("GET", large["layers"][0]) == 0
    await client.pull(near(registry, "lab/small"), "1")

    with pytest.raises(OSError):
        fill(filler, 200 * MEGABYTE)
    fresh = registry.add_image("lab/fresh", "1", [noise(200_000)])
    for _ in range(3):
        full = await client.blob(near(registry, "lab/fresh"), fresh["layers"][0])
        assert full.status in (500, 507), full.body
    await client.pull(near(registry, "lab/small"), "1")
    assert (await client.ask("GET", "/healthz")).status == 200

    filler.unlink()
    await client.pull(near(registry, "lab/fresh"), "1")
    await client.pull(near(registry, "lab/large"), "1")
    await client.pull(near(registry, "lab/small"), "1")
    check_files(small_disk / "state")
    await asyncio.to_thread(daemon.kill)
    await asyncio.to_thread(daemon.start)
    await registry.stop()
    verify(await client.blob(near(registry, "lab/small"), small["layers"][0]), small["layers"][0])


async def test_a_store_that_is_too_small_says_so_and_evicted_content_comes_back(
    registry: Registry, session: aiohttp.ClientSession, start_daemon: Callable[..., Daemon]
) -> None:
    daemon = start_daemon(WAVELET_STORE_LIMIT="1MB", WAVELET_STORE_LEASE=0.001)
    client = Client(session, daemon.url)
    images = [registry.add_image(f"lab/n{n}", "1", [noise(600_000)]) for n in range(3)]
    for n in (0, 1, 2, 0, 1):
        await client.pull(near(registry, f"lab/n{n}"), "1")
        await asyncio.to_thread(daemon.settle)  # what is on its way cannot be evicted
    assert registry.count("GET", images[0]["layers"][0]) == 2
    large = registry.add_image("lab/toolarge", "1", [noise(1_100_000)])
    got = await client.blob(near(registry, "lab/toolarge"), large["layers"][0])
    assert got.status == 507
    assert "store.limit" in got.message
    await client.pull(near(registry, "lab/n1"), "1")
