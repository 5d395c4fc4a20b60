"""The near-cache: any registry's image under this node's name, when the registry is away and after eviction too."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.engines import Containerd, Docker, Engine, skopeo
from lab.http import request
from lab.registry import Registry

pytestmark = pytest.mark.registry


def cached(node: Daemon, registry: Registry, repository: str) -> str:
    return f"{node.authority}/{registry.host.replace(':', '_')}/{repository}"


def pull_by_http(node: Daemon, name: str) -> str:
    """Pull manifest and blobs by hand, verified; return the manifest's digest."""
    answer = node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES))
    assert answer.status == 200, answer.body
    for part in [answer.json()["config"], *answer.json()["layers"]]:
        blob = node.get(nextflow.blob_path(name, part["digest"]))
        assert blob.status == 200, blob.body
        assert images.sha256(blob.body) == part["digest"]
    return images.sha256(answer.body)


def test_any_engine_pulls_any_registry(node: Daemon, registry: Registry, engine: Engine) -> None:
    name = cached(node, registry, "lab/busybox:1")
    engine.pull(name)
    assert engine.run(name, "/bin/echo", "cached") == "cached\n"


@pytest.mark.docker
def test_an_index_is_kept_as_it_is(node: Daemon, registry: Registry, docker: Docker) -> None:
    index = images.two_architectures(images.OCI)
    registry.push("lab/cached-index", "1", index)
    name = cached(node, registry, "lab/cached-index:1")
    answer = node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES))
    assert answer.body == index.document
    assert answer.headers["content-type"] == index.media_type
    docker.pull(name)
    assert docker.digest(name) == index.digest


def test_a_port_as_it_is_written(node: Daemon, registry: Registry) -> None:
    assert pull_by_http(node, f"{node.authority}/{registry.host}/lab/busybox:1") == images.busybox().digest


@pytest.mark.containerd
def test_containerd_names_the_registry_in_the_query(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], containerd: Containerd
) -> None:
    node, upstream = start_daemon(), start_registry()
    name = upstream.push("lab/namespace", "1", images.busybox(images.layer({"ns": b"asked by ns\n"})))
    seen = node.get(f"/v2/lab/namespace/manifests/1?ns={upstream.host}", Accept=", ".join(images.MANIFEST_TYPES))
    assert seen.headers["oci-namespace"] == upstream.host
    for part in [seen.json()["config"], *seen.json()["layers"]]:
        assert node.get(f"/v2/lab/namespace/blobs/{part['digest']}?ns={upstream.host}").status == 200
    upstream.stop()
    containerd.pull_through(node.url, name)
    assert containerd.run(name, "/bin/cat", "/ns") == "asked by ns\n"


@pytest.mark.docker
def test_the_registry_is_away(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], docker: Docker
) -> None:
    node, upstream = start_daemon(WAVELET_UPSTREAM_TAG_TTL=0), start_registry()
    source = upstream.push("lab/away", "1", images.busybox())
    names = [cached(node, upstream, "lab/away:1"), nextflow.target(node, source, config={"env": ["A=1"]})]
    for name in names:
        docker.pull(name)
        docker.remove(name)
    upstream.stop()
    for name in names:
        docker.pull(name)
        assert docker.run(name, "echo", "still here") == "still here\n"


def test_a_killed_daemon_serves_again_without_the_registry(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], state_dir: Path
) -> None:
    upstream, node = start_registry(), start_daemon()
    source = upstream.push("lab/killed", "1", images.busybox())
    layer = images.layer({"kept": b"kept\n"})
    fields = {"config": {"layers": [layer.in_request()]}}
    before = nextflow.target(node, source, **fields)
    digest = pull_by_http(node, before)
    node.settle()
    node.kill()
    upstream.stop()
    again = start_daemon(state_dir)
    name = again.authority + "/" + before.partition("/")[2]
    assert pull_by_http(again, name) == digest
    assert nextflow.target(again, source, **fields).partition("/")[2] == before.partition("/")[2]


def test_an_evicted_image_is_pulled_again(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry]
) -> None:
    upstream = start_registry()
    node = start_daemon(WAVELET_STORE_LIMIT="20MB", WAVELET_STORE_LEASE=0.2)
    layers = [images.random_layer(6, seed) for seed in range(4)]
    added = images.layer({"added": b"comes back too\n"})
    sources = [upstream.push("lab/evicted", str(n), images.image([layer])) for n, layer in enumerate(layers)]
    names = [nextflow.target(node, source, config={"layers": [added.in_request()]}) for source in sources]
    digests = []
    for name in names:
        digests.append(pull_by_http(node, name))
        time.sleep(0.3)
    assert upstream.count(f"/blobs/{layers[0].digest}") == 1
    assert pull_by_http(node, names[0]) == digests[0]
    assert upstream.count(f"/blobs/{layers[0].digest}") == 2


def test_many_clients_of_a_cold_blob_are_one_fetch(node: Daemon, registry: Registry) -> None:
    layer = images.random_layer(16, seed=100)
    registry.push("lab/shared", "1", images.image([layer]))
    name = cached(node, registry, "lab/shared:1")
    assert node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES)).status == 200
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: node.get(nextflow.blob_path(name, layer.digest)), range(16)))
    assert all(answer.body == layer.blob for answer in answers)
    assert registry.count(f"/blobs/{layer.digest}") == 1


def test_a_moved_tag_is_seen_after_its_age(start_daemon: Callable[..., Daemon], registry: Registry) -> None:
    node = start_daemon(WAVELET_UPSTREAM_TAG_TTL=0.3)
    first, second = images.busybox(env=["V=1"]), images.busybox(env=["V=2"])
    registry.push("lab/moved", "1", first)
    name = cached(node, registry, "lab/moved:1")
    assert pull_by_http(node, name) == first.digest
    registry.push("lab/moved", "1", second)
    time.sleep(0.4)
    assert pull_by_http(node, name) == second.digest
    config = first.json()["config"]["digest"]
    assert node.get(nextflow.blob_path(name, config)).status == 200, "what a name has answered stays pullable"


def test_ranges_conditions_and_heads(node: Daemon, registry: Registry) -> None:
    layer = images.busybox_layer()
    name = cached(node, registry, "lab/busybox:1")
    assert node.get(nextflow.manifest_path(name), Accept=", ".join(images.MANIFEST_TYPES)).status == 200
    path = nextflow.blob_path(name, layer.digest)
    head = node.head(path)
    assert (head.status, head.headers["content-length"]) == (200, str(len(layer.blob)))
    part = node.get(path, Range="bytes=100-199")
    assert (part.status, part.body) == (206, layer.blob[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(layer.blob)}"
    for behind in (f"bytes={len(layer.blob)}-", f"bytes={len(layer.blob)}-{len(layer.blob) + 9}"):
        answer = node.get(path, Range=behind)
        assert (answer.status, answer.headers.get("content-range")) == (416, f"bytes */{len(layer.blob)}")
    manifest = nextflow.manifest_path(name)
    etag = node.get(manifest).headers["etag"]
    assert node.get(manifest, If_None_Match=etag).status == 304


def test_tags_are_listed_by_pages(node: Daemon, registry: Registry) -> None:
    for tag in ("a", "b", "c"):
        registry.push("lab/tags", tag, images.busybox())
    path = nextflow.tags_path(cached(node, registry, "lab/tags:a"))
    assert node.get(path).json()["tags"] == ["a", "b", "c"]
    page = node.get(f"{path}?n=2")
    assert page.json()["tags"] == ["a", "b"]
    assert 'rel="next"' in page.headers["link"]
    assert node.get(f"{path}?n=2&last=b").json()["tags"] == ["c"]


def test_a_token_lists_its_own_tag_only(node: Daemon, registry: Registry) -> None:
    registry.push("lab/tags", "a", images.busybox())
    name = nextflow.target(node, f"{registry.host}/lab/tags:a", config={"env": ["A=1"]})
    assert node.get(nextflow.tags_path(name)).json()["tags"] == ["a"]
    other = nextflow.manifest_path(name).replace("/lab/tags/", "/lab/busybox/")
    assert 400 <= node.get(other).status < 500


def test_pushes_are_not_served(node: Daemon) -> None:
    assert request("POST", f"{node.url}/v2/lab/busybox/blobs/uploads/").status in (404, 405, 501)


@pytest.mark.skopeo
def test_skopeo_lists_and_copies(node: Daemon, registry: Registry, tmp_path: Path) -> None:
    name = cached(node, registry, "lab/busybox")
    assert "1" in skopeo("list-tags", "--tls-verify=false", f"docker://{name}")["Tags"]
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}:1", f"oci:{tmp_path}/copy:1")
    assert (tmp_path / "copy" / "index.json").exists()
