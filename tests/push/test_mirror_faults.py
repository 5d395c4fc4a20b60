"""The mirror when something goes wrong: at the source, at the target, or with the process itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from doubles.registry import Registry as Double
from lab import images
from lab.http import Answer, get
from lab.node import Node, open_node
from lab.processes import run
from lab.registry import Registry
from wavelet.errors import AccessRefused, BlobNotFound, UpstreamBroken, UpstreamUnreachable
from wavelet.image.reference import Digest, Reference, Repository
from wavelet.plan.tokens import NOBODY
from wavelet.push.mirror import Mirror
from wavelet.push.progress import CopyProgress
from wavelet.push.pushed_blobs import PushedBlobs
from wavelet.upstream.retry import RetryPolicy

pytestmark = pytest.mark.registry

LAYERS = [images.random_layer(2, seed).blob for seed in (1, 2)]
THERE = "mirrored/lab/tool"


@pytest.fixture
def image(double: Double) -> dict[str, Any]:
    """An image of two layers of 2 MB at the registry that misbehaves."""
    return double.add_image("lab/tool", "1", LAYERS)


def source_of(registry: Double, image: dict[str, Any]) -> Reference:
    return Reference(Repository(registry.host, "lab/tool"), digest=Digest(image["manifest"]))


def target_of(registry: Registry) -> Reference:
    return Reference(Repository(registry.host, THERE), "1")


async def named(registry: Registry) -> Answer:
    url = f"{registry.url}/v2/{THERE}/manifests/1"
    return await asyncio.to_thread(get, url, accept=", ".join(images.MANIFEST_TYPES))


async def blobs_of(registry: Registry, image: dict[str, Any]) -> list[bytes]:
    urls = [f"{registry.url}/v2/{THERE}/blobs/{digest}" for digest in image["layers"]]
    return [(await asyncio.to_thread(get, url)).body for url in urls]


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_source_that_breaks_off_is_taken_up_again(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry, ranges: bool
) -> None:
    double.ranges = ranges
    fault = double.fault(f"/blobs/{image['layers'][0]}", reset=1_500_000, times=1)
    seen: list[CopyProgress] = []
    result = await mirror.copy(source_of(double, image), target_of(target), NOBODY, seen.append)
    assert fault.hits == 1 and await blobs_of(target, image) == LAYERS
    assert seen[-1].bytes_done == result.bytes, "what is read twice is sent once"
    asked = double.seen("GET", image["layers"][0])
    assert len(asked) == 2 and "Range" in asked[1].headers


async def test_wrong_bytes_of_a_source_never_arrive(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    fault = double.fault(f"/blobs/{image['layers'][0]}", corrupt=2_000_000)
    with pytest.raises(UpstreamBroken, match=f"{double.host}/lab/tool: {image['layers'][0]} has the digest"):
        await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert (await named(target)).status == 404
    fault.lift()
    await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert await blobs_of(target, image) == LAYERS


async def test_a_source_with_another_length_is_refused(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    double.fault(f"/blobs/{image['layers'][0]}", body=b"something else")
    with pytest.raises(UpstreamBroken, match="has 14 bytes there instead of"):
        await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert (await named(target)).status == 404


async def test_a_blob_that_the_source_lacks_is_named(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    double.remove("lab/tool", image["layers"][1])
    with pytest.raises(BlobNotFound, match=image["layers"][1]):
        await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert (await named(target)).status == 404


async def test_a_tag_that_moves_meanwhile_changes_nothing(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    def move(_: CopyProgress) -> None:
        double.add_image("lab/tool", "1")

    result = await mirror.copy(source_of(double, image), target_of(target), NOBODY, move)
    assert result.digest == image["manifest"]
    assert (await named(target)).headers["docker-content-digest"] == image["manifest"]


async def test_a_source_that_refuses_says_so(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    double.require_login()
    with pytest.raises(AccessRefused, match=rf"{double.host} refuses access to {double.host}/lab/tool"):
        await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert target.count(THERE) == 0


async def test_a_target_that_refuses_says_what_is_missing(
    mirror: Mirror, double: Double, image: dict[str, Any], tmp_path: Path
) -> None:
    closed = Registry(tmp_path / "closed", ("ann",))
    closed.start()
    try:
        with pytest.raises(AccessRefused, match=r"anonymous.*login with the right to push"):
            await mirror.copy(source_of(double, image), target_of(closed), NOBODY)
    finally:
        closed.stop()
    assert double.count("GET", "/blobs/") == 0, "nothing is fetched for it"


async def test_a_target_that_vanishes_is_gone_on_with(
    mirror: Mirror, double: Double, image: dict[str, Any], target: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavelet.upstream.push_uploads.UPLOADS", RetryPolicy(2, first_delay=0.05, factor=1.0))
    double.fault("/blobs/", rate=2_000_000)
    begun = asyncio.Event()

    def stop_later(progress: CopyProgress) -> None:
        if progress.bytes_done > 1_000_000:
            begun.set()

    copying = asyncio.create_task(mirror.copy(source_of(double, image), target_of(target), NOBODY, stop_later))
    await begun.wait()
    await asyncio.to_thread(target.stop)
    with pytest.raises(UpstreamUnreachable, match=target.host):
        await copying
    await asyncio.to_thread(target.start)
    assert (await named(target)).status == 404
    double.clear_faults()
    await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert await blobs_of(target, image) == LAYERS


async def test_two_nodes_that_copy_the_same_both_succeed(
    node: Node, mirror: Mirror, double: Double, image: dict[str, Any], target: Registry, tmp_path: Path
) -> None:
    async with open_node(tmp_path / "second") as other:
        second = Mirror(other.upstream, other.access, other.store, other.upstream.pusher, PushedBlobs(other.database))
        copies = [each.copy(source_of(double, image), target_of(target), NOBODY) for each in (mirror, second, mirror)]
        results = await asyncio.gather(*copies)
    assert {result.digest for result in results} == {image["manifest"]}
    assert await blobs_of(target, image) == LAYERS
    assert double.count("GET", image["layers"][0]) <= 2, "each node fetches it once"


async def test_what_is_damaged_in_the_store_comes_from_the_source(
    node: Node, mirror: Mirror, double: Double, image: dict[str, Any], target: Registry
) -> None:
    """It is not read before it is sent; the target finds out, and what was damaged is removed."""
    digest, origin = Digest(image["layers"][0]), f"{double.host}/lab/tool"
    await node.store.add(LAYERS[0], digest, origin)
    rot(node, digest)
    await mirror.copy(source_of(double, image), target_of(target), NOBODY)
    assert await blobs_of(target, image) == LAYERS
    assert node.store.find(digest, origin) is None and double.count("GET", digest) == 1


def rot(node: Node, digest: Digest) -> None:
    """Change a byte as a disk does: nothing tells that the file was changed, and it was read long ago."""
    path = node.store._path(digest)
    with path.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)
        file.seek(1_000_000)
        file.write(bytes([byte[0] ^ 1]))
    entry = node.store._entries[digest]
    entry.changed, entry.lately = path.stat().st_ctime_ns, -1e9


_COPY = """
import asyncio, sys
from pathlib import Path
from lab.node import open_node
from wavelet.image.reference import Reference
from wavelet.plan.tokens import NOBODY
from wavelet.push.mirror import Mirror
from wavelet.push.pushed_blobs import PushedBlobs

async def main(state, source, target):
    async with open_node(Path(state)) as node:
        mirror = Mirror(node.upstream, node.access, node.store, node.upstream.pusher, PushedBlobs(node.database))
        told = lambda progress: print(progress.bytes_done, flush=True)
        await mirror.copy(Reference.parse(source), Reference.parse(target), NOBODY, told)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_in_the_middle_it_leaves_no_half_image(
    double: Double, image: dict[str, Any], target: Registry, tmp_path: Path
) -> None:
    slow = double.fault("/blobs/", rate=3_000_000)
    names = (str(source_of(double, image)), str(target_of(target)))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _COPY, str(tmp_path / "killed"), *names]

    def killed_at(least: int) -> None:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as copying:
            assert copying.stdout is not None
            for line in copying.stdout:
                with suppress(ValueError):
                    if int(line) > least:
                        break
            copying.send_signal(signal.SIGKILL)

    await asyncio.to_thread(killed_at, 1_000_000)
    assert (await named(target)).status == 404
    slow.lift()
    await asyncio.to_thread(run, command, environment=environment)
    assert (await named(target)).headers["docker-content-digest"] == image["manifest"]
    assert await blobs_of(target, image) == LAYERS
