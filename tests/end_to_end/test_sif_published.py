"""SIFs that others publish: ORAS pushes one to a registry and pulls it through the node, by each of its names."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lab import images, oras
from lab.daemon import Daemon
from lab.http import request
from lab.nextflow import manifest_path
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.oras]


@pytest.fixture(scope="module")
def file(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SIF that is `lab/published:1` of the registry."""
    made = tmp_path_factory.mktemp("published") / "published.sif"
    made.write_bytes(random.Random(14).randbytes(3_000_000))
    oras.push(made, f"{registry.host}/lab/published:1")
    return made


def near(registry: Registry) -> str:
    return f"{registry.host.replace(':', '_')}/lab/published:1"


def test_a_sif_of_a_registry_is_near_cached(node: Daemon, registry: Registry, file: Path, tmp_path: Path) -> None:
    name = f"{node.authority}/{near(registry)}"
    assert oras.pull(name, tmp_path / "pulled").read_bytes() == file.read_bytes()
    asked = registry.count("/lab/published/blobs/")
    assert oras.pull(name, tmp_path / "again").name == "published.sif"
    assert registry.count("/lab/published/blobs/") == asked, "what the node has is not fetched again"


def test_the_sif_of_a_sif_is_that_very_one(node: Daemon, registry: Registry, file: Path, tmp_path: Path) -> None:
    name = f"{node.authority}/sif/{near(registry)}"
    assert oras.pull(name, tmp_path / "pulled").read_bytes() == file.read_bytes()
    digests = [
        images.sha256(node.get(manifest_path(each), Accept=", ".join(images.MANIFEST_TYPES)).body)
        for each in (name, f"{node.authority}/{near(registry)}")
    ]
    assert digests[0] == digests[1]
    assert node.get(f"/sif/{near(registry)}.sif").body == file.read_bytes()


@pytest.mark.parametrize("scheme", ["", "oras://"])
def test_a_request_names_it_as_apptainer_does(
    node: Daemon, registry: Registry, file: Path, tmp_path: Path, scheme: str
) -> None:
    body = {"containerImage": f"{scheme}{registry.host}/lab/published:1", "format": "sif", "containerConfig": {}}
    headers = {"Content-Type": "application/json"}
    answer = request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=json.dumps(body).encode())
    assert answer.status == 200, answer.body
    target = answer.json()["targetImage"]
    assert target.startswith("oras://")
    assert oras.pull(target.removeprefix("oras://"), tmp_path / "pulled").read_bytes() == file.read_bytes()
