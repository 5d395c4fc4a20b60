"""Lists of images mirrored between real registries: an interrupted command is given again; engines pull the copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images
from lab.daemon import Daemon, environment
from lab.engines import Docker, skopeo
from lab.private import WAVELET
from lab.processes import Background, run, wait_for
from lab.registry import Registry

pytestmark = pytest.mark.registry

MIRROR_SECONDS = 120.0
MEGABYTES = 24.0
LAYERS = 6


def command(node: Daemon, *arguments: str) -> list[str]:
    return [*WAVELET, "mirror", "--socket", str(node.state / "wavelet.sock"), "--output", "json", *arguments]


def test_a_daemon_that_is_killed_goes_on_where_it_was(
    registry: Registry, start_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    layers = [images.random_layer(MEGABYTES, seed) for seed in range(LAYERS)]
    large = registry.push("lab/large", "1", images.image(layers, family=images.OCI))
    small = f"{registry.host}/lab/busybox:1"
    target = start_registry()
    node = Daemon(tmp_path / "state").start()
    try:
        first = Background(command(node, large, small, "--to", target.host), tmp_path / "first.log", environment({}))
        # One blob is there, others are on their way.
        wait_for(lambda: target.count("/lab/large/blobs/uploads/", "PUT") > 0, "the first blob at the target", 60)
        node.kill()
        first.stop()
        node.start()
        printed = run(command(node, large, small, "--to", target.host), seconds=MIRROR_SECONDS).stdout
        again, other = json.loads(printed)
        assert again["target"] == f"{target.host}/lab/large:1" and other["error"] is None
        assert again["blobs"] <= LAYERS, "what was there was sent once more"
        there = skopeo("inspect", "--tls-verify=false", f"docker://{again['target']}")
        assert there["Digest"] == again["digest"]
        nothing = json.loads(run(command(node, large, "--to", target.host), seconds=MIRROR_SECONDS).stdout)
        assert (nothing[0]["bytes"], nothing[0]["manifests"]) == (0, 0)
    finally:
        node.stop()


@pytest.mark.docker
def test_an_engine_runs_a_copy_of_what_this_node_made(
    node: Daemon, registry: Registry, docker: Docker, start_registry: Callable[..., Registry]
) -> None:
    target = start_registry()
    resolve = [*WAVELET, "resolve", "--socket", str(node.state / "wavelet.sock"), "--image"]
    made = run([*resolve, f"{registry.host}/lab/busybox:1", "--config-env", "GREETING=copied"]).stdout.strip()
    [copied] = json.loads(run(command(node, made, "--to", f"{target.host}/team"), seconds=MIRROR_SECONDS).stdout)
    assert copied["target"] == f"{target.host}/team/lab/busybox:1"
    docker.pull(copied["target"])
    assert docker.run(copied["target"], "sh", "-c", "echo $GREETING") == "copied\n"
    docker.remove(copied["target"])
