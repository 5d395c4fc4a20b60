"""More packages than an image may have layers: the smallest share one, and engines take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images
from lab.conda_asks import CondaSite, digest, files, layers, made, manifest
from lab.conda_catalogue import many_packages
from lab.conda_channel import make_channel
from lab.daemon import Daemon
from lab.engines import Docker

pytestmark = [pytest.mark.registry, pytest.mark.timeout(90)]

COUNT = 140
CHANNELS = ("many",)


@pytest.mark.docker
def test_the_rest_is_one_layer_and_is_made_again(
    start_daemon: Callable[..., Daemon], own_site: CondaSite, docker: Docker, tmp_path: Path
) -> None:
    many = many_packages(COUNT, largest=1 << 18)
    own_site.server.channels["many"] = make_channel(tmp_path / "many", many)
    node = start_daemon(settings=own_site.settings())
    added = images.layer({"opt/added": b"added\n"})
    name = made(node, "parts", channels=CHANNELS, config={"layers": [added.in_request()]})
    plain = made(node, "parts", channels=CHANNELS)
    assert len(manifest(node, plain)["layers"]) < len(manifest(node, name)["layers"]) <= 120
    before = layers(node, plain)
    found = files(before)
    assert len([path for path in found if path.startswith("opt/conda/conda-meta/part")]) == COUNT + 1
    docker.pull(name)
    script = f"for n in 001 070 {COUNT}; do part$n; done; cat /opt/added"
    said = docker.run(name, "/bin/bash", "-uec", script)
    assert said == f"/opt/conda 1\n/opt/conda 70\n/opt/conda {COUNT}\nadded\n"
    # Nearly the same environment: all layers but those that differ are there already.
    fewer = made(node, *(package.name for package in many[: COUNT - 1]), channels=CHANNELS)
    known = {layer["digest"] for layer in manifest(node, plain)["layers"]}
    others = [layer for layer in manifest(node, fewer)["layers"] if layer["digest"] not in known]
    assert len(others) <= 3, len(others)
    expected = digest(node, plain)
    node.stop()
    for file in (node.state / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    node.start()
    assert digest(node, plain) == expected
    assert layers(node, plain) == before
