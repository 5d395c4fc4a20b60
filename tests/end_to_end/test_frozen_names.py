"""Frozen names: each answers one digest for its life, on every node, whatever was evicted, killed or lost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_asks, images, nextflow
from lab.conda_asks import CondaSite
from lab.daemon import Daemon
from lab.engines import Docker, Podman
from lab.http import Answer, request
from lab.registry import PASSWORDS, Registry
from lab.users import User
from wavelet.client import Client

pytestmark = pytest.mark.registry

LAYER = images.layer({"frozen": b"the same for good\n"})
CONFIG = {"freeze": True, "config": {"layers": [LAYER.in_request()], "env": ["A=1"]}}
ACCEPT = ", ".join(images.MANIFEST_TYPES)


def digest_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["docker-content-digest"]


def pulled(node: Daemon, name: str) -> str:
    """Return the digest that a node answers a name with."""
    return digest_of(node.get(nextflow.manifest_path(name), Accept=ACCEPT))


def by_digest(node: Daemon, name: str, digest: str) -> Answer:
    return node.get(nextflow.manifest_path(name).rpartition("/")[0] + f"/{digest}", Accept=ACCEPT)


@pytest.mark.docker
@pytest.mark.podman
def test_nodes_that_share_records_and_lose_everything_else(
    start_daemon: Callable[..., Daemon], registry: Registry, docker: Docker, podman: Podman, tmp_path: Path
) -> None:
    shared = {"WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    one, two = (start_daemon(tmp_path / name, **shared) for name in ("one", "two"))
    name = nextflow.target(one, f"{registry.host}/lab/busybox:1", **CONFIG)
    path = name.partition("/")[2]
    assert path.startswith("frozen/lab/busybox:1--")
    docker.pull(name)
    digest = pulled(one, name)
    one.kill()
    shutil.rmtree(one.state)
    one.start()
    assert pulled(one, name) == digest
    assert pulled(two, name) == digest
    podman.pull(f"{two.authority}/{path}")
    assert podman.run(f"{two.authority}/{path}", "cat", "/frozen") == "the same for good\n"
    assert nextflow.target(two, f"{registry.host}/lab/busybox:1", **CONFIG).partition("/")[2] == path


@pytest.mark.docker
def test_it_is_pulled_again_when_all_of_it_was_evicted(
    start_daemon: Callable[..., Daemon], registry: Registry, docker: Docker, tmp_path: Path
) -> None:
    base = images.busybox(images.random_layer(3, seed=1))
    registry.push("lab/large", "1", base)
    registry.push("lab/other", "1", images.busybox(images.random_layer(3, seed=2)))
    layers = base.json()["layers"]
    size = sum(layer["size"] for layer in layers)
    limits = {"WAVELET_STORE_LIMIT": int(size * 1.4), "WAVELET_STORE_LEASE": 0.1}
    node = start_daemon(tmp_path / "state", **limits)
    largest = max(layers, key=lambda layer: int(layer["size"]))["digest"].partition(":")[2]

    def here() -> list[Path]:
        return [path for path in (node.state / "blobs").rglob("*") if largest in str(path)]

    name = nextflow.target(node, f"{registry.host}/lab/large:1", **CONFIG)
    docker.pull(name)
    before = docker.digest(name)
    docker.remove(name)
    assert here()
    docker.pull(f"{node.authority}/{registry.host.replace(':', '_')}/lab/other:1")
    assert not here()
    docker.pull(name)
    assert docker.digest(name) == before == pulled(node, name)


def test_its_digests_are_pulled_after_a_new_start(
    start_daemon: Callable[..., Daemon], registry: Registry, tmp_path: Path
) -> None:
    settings = {"WAVELET_STORE_RETENTION": 1, "WAVELET_RECORDS_DIRECTORY": tmp_path / "records"}
    one, two = (start_daemon(tmp_path / name, **settings) for name in ("one", "two"))
    name = nextflow.target(one, f"{registry.host}/lab/busybox:1", **CONFIG)
    digest = pulled(one, name)
    one.stop()
    one.start()
    assert digest_of(by_digest(one, name, digest)) == digest
    assert one.get(nextflow.blob_path(name, LAYER.digest)).body == LAYER.blob
    lacking = by_digest(two, name, digest)
    assert lacking.status == 404
    assert "pull it by its tag first" in lacking.body.decode()
    assert pulled(two, name) == digest
    assert digest_of(by_digest(two, name, digest)) == digest


def test_without_its_record_it_is_unknown_and_asked_for_again_it_is_the_same(
    start_daemon: Callable[..., Daemon], registry: Registry, tmp_path: Path
) -> None:
    node = start_daemon(tmp_path / "state")
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", **CONFIG)
    digest = pulled(node, name)
    node.kill()
    for file in node.state.glob("records.db*"):
        file.unlink()
    node.start()
    lost = node.get(nextflow.manifest_path(name), Accept=ACCEPT)
    assert lost.status == 404
    assert "is not known here: it was asked for on another node" in lost.body.decode()
    assert by_digest(node, name, digest).status == 404
    assert nextflow.target(node, f"{registry.host}/lab/busybox:1", **CONFIG) == name
    assert pulled(node, name) == digest


def test_a_damaged_record_answers_nothing_else(
    start_daemon: Callable[..., Daemon], registry: Registry, tmp_path: Path
) -> None:
    node = start_daemon(tmp_path / "state", WAVELET_RECORDS_DIRECTORY=tmp_path / "records")
    name = nextflow.target(node, f"{registry.host}/lab/busybox:1", **CONFIG)
    token = name.rpartition("--")[2]
    record = tmp_path / "records" / "frozen" / token[:2] / token
    node.stop()
    record.write_bytes(record.read_bytes().replace(b"A=1", b"A=2"))
    node.start()
    assert node.get(nextflow.manifest_path(name), Accept=ACCEPT).status == 404
    assert nextflow.target(node, f"{registry.host}/lab/busybox:1", **CONFIG) == name
    assert pulled(node, name)


def collected(node: Daemon) -> list[int]:
    """Remove all that may go, and return the sizes of what has stayed."""
    with Client(f"unix:{node.state}/admin.sock") as client:
        client.collect(keep=0)
        return [kept.size for kept in client.cache_list(blobs=True)]


def test_packages_with_scripts_are_the_same_when_all_that_may_go_was_evicted(
    start_daemon: Callable[..., Daemon], conda_site: CondaSite, tmp_path: Path
) -> None:
    def start(name: str, **more: object) -> Daemon:
        settings = conda_site.settings(engine="namespace")
        return start_daemon(tmp_path / name, settings=settings, WAVELET_STORE_LEASE=0.1, **more)

    alone = start("alone")
    one, two = (start(name, WAVELET_RECORDS_DIRECTORY=tmp_path / "records") for name in ("one", "two"))
    for node in (alone, one):
        answer = conda_asks.ask(node, "post-link-tool", "which", freeze=True)
        assert conda_asks.done(node, answer["requestId"])["succeeded"] is True
        name = answer["targetImage"]
        assert name.partition("/")[2].startswith("frozen/post-link-tool")
        digest, layers = pulled(node, name), conda_asks.layers(node, name)
        time.sleep(0.2)
        stayed = collected(node)
        assert bool(stayed) == (node is alone), "what scripts made stays where no other place has it"
        node.kill()
        node.start()
        assert pulled(node, name) == digest
        assert conda_asks.layers(node, name) == layers
    assert pulled(two, name) == digest
    assert conda_asks.layers(two, name) == layers


@pytest.mark.users
@pytest.mark.docker
def test_whose_it_is(
    start_daemon: Callable[..., Daemon],
    start_registry: Callable[..., Registry],
    ann: User,
    bob: User,
    docker: Docker,
    tmp_path: Path,
) -> None:
    private = start_registry(accounts=("ann",))
    image = images.busybox(images.layer({"secret": b"nobody else may read this\n"}))
    source = private.push("secret/tool", "1", image)
    ann.log_in(private.host, "ann", PASSWORDS["ann"])
    node = start_daemon(tmp_path / "state")
    body = json.dumps(nextflow.body(containerImage=source, **CONFIG)).encode()
    asked = ann.request(
        "POST", f"{node.url}/v1alpha2/container", headers={"Content-Type": "application/json"}, body=body
    )
    assert asked.status == 200, asked.body
    name = str(asked.json()["targetImage"])
    manifest = ann.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT)
    digest = digest_of(manifest)
    layers = [layer["digest"] for layer in manifest.json()["layers"]]
    docker.pull(name)
    assert docker.run(name, "cat", "/secret", "/frozen") == "nobody else may read this\nthe same for good\n"
    node.stop()
    node.start()
    mine = nextflow.manifest_path(name).rpartition("/")[0] + f"/{digest}"
    assert ann.get(node.url + mine, Accept=ACCEPT).status == 200
    for path in (nextflow.manifest_path(name), mine, *(nextflow.blob_path(name, each) for each in layers)):
        refused = bob.get(node.url + path, Accept=ACCEPT)
        assert refused.status in (401, 403, 404), (path, refused)
        assert b"nobody else" not in refused.body
    listed = bob.get(node.url + nextflow.tags_path(name))
    assert name.rpartition(":")[2] not in listed.body.decode()
    docker.remove(name)
    docker.pull(f"{name.rpartition(':')[0]}@{digest}")
    token = name.rpartition("--")[2]
    assert bob.request("DELETE", f"{node.url}/container-token/{token}").status in (403, 404)
    assert ann.request("DELETE", f"{node.url}/container-token/{token}").status == 200
    assert request("GET", node.url + nextflow.manifest_path(name)).status == 404


@pytest.mark.users
def test_who_is_told_of_the_tags_of_a_repository(
    start_daemon: Callable[..., Daemon], registry: Registry, ann: User, bob: User, tmp_path: Path
) -> None:
    """A name for everybody opens what came with its request to all who have it, so nobody else is told of it."""
    node = start_daemon(tmp_path / "state")
    body = json.dumps(nextflow.body(containerImage=f"{registry.host}/lab/busybox:1", **CONFIG)).encode()
    headers = {"Content-Type": "application/json"}
    name = str(ann.request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body).json()["targetImage"])
    assert pulled(node, name)
    assert ann.get(node.url + nextflow.tags_path(name)).json()["tags"] == [name.rpartition(":")[2]]
    assert bob.get(node.url + nextflow.tags_path(name)).json()["tags"] == []
    assert node.get(nextflow.tags_path(name)).json()["tags"] == []
    node.stop()
    node.start()
    layer = node.url + nextflow.blob_path(name, LAYER.digest)
    assert bob.get(layer).status == 404, "a digest opens nothing"
    assert ann.get(layer).body == LAYER.blob
    assert bob.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert bob.get(layer).body == LAYER.blob
