"""SIFs as clients take them: curl, which resumes, ORAS by tag and by digest; and users who may not have the image."""

from __future__ import annotations

import hashlib
import json
import random
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import images, nextflow, oras, sif_asks, zygote
from lab.daemon import Daemon
from lab.http import request
from lab.processes import run, wait_for
from lab.registry import PASSWORDS, Registry
from lab.users import User

pytestmark = [pytest.mark.registry, pytest.mark.users]

REFUSED = (401, 403, 404)
MEGABYTE = 1024 * 1024
LAYERS = [images.random_layer(megabytes, seed=number, name=f"data/{number}") for number, megabytes in enumerate((3, 5))]


@pytest.fixture(scope="module")
def name(node: Daemon, registry: Registry) -> str:
    """Return the name of an image of some megabytes, of two layers over busybox."""
    registry.push("lab/large", "1", images.busybox(*LAYERS))
    return sif_asks.cached(node, registry, "lab/large:1")


@pytest.fixture(scope="module")
def whole(name: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return its SIF."""
    return sif_asks.download(name, tmp_path_factory.mktemp("sif") / "whole.sif").read_bytes()


def test_curl_takes_it_under_its_name_and_resumes(name: str, whole: bytes, tmp_path: Path) -> None:
    url, place = sif_asks.file_url(name), tmp_path / "large_1.sif"
    run(["curl", "--fail", "--silent", "--remote-name", "--remote-header-name", "--output-dir", tmp_path, url])
    assert place.read_bytes() == whole
    place.write_bytes(whole[: 5 * MEGABYTE + 7])
    run(["curl", "--fail", "--silent", "--continue-at", "-", "--output", place, url])
    assert place.read_bytes() == whole


def test_any_range_of_it(name: str, whole: bytes) -> None:
    rng = random.Random(1)
    for _ in range(40):
        first = rng.randrange(len(whole))
        last = min(len(whole) - 1, first + rng.choice((0, 1, 4096, MEGABYTE, 6 * MEGABYTE)))
        answer = sif_asks.ask(name, Range=f"bytes={first}-{last}")
        assert (answer.status, answer.body) == (206, whole[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


def test_it_has_one_digest_wherever_it_is_told(node: Daemon, name: str, whole: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    head = sif_asks.ask(name, "HEAD")
    assert head.headers["docker-content-digest"] == sif_asks.digest(name) == digest
    assert (head.headers["etag"], head.headers["content-length"]) == (f'"{digest}"', str(len(whole)))
    assert sif_asks.ask(name, If_None_Match=head.headers["etag"]).status == 304
    blob = node.get(nextflow.blob_path(sif_asks.sif_name(name), digest))
    assert blob.body == whole


@pytest.mark.oras
def test_oras_pulls_it_by_tag_and_by_digest(node: Daemon, name: str, whole: bytes, tmp_path: Path) -> None:
    sif = sif_asks.sif_name(name)
    assert oras.pull(sif, tmp_path / "tag").read_bytes() == whole
    answer = node.head(nextflow.manifest_path(sif), Accept=sif_asks.ACCEPT)
    repository = sif.rpartition(":")[0]
    found = oras.pull(f"{repository}@{answer.headers['docker-content-digest']}", tmp_path / "digest")
    assert found.read_bytes() == whole
    assert "not found" in oras.pull_error(f"{repository}@sha256:{'0' * 64}", tmp_path / "absent")


def test_the_digest_of_an_image_gives_its_sif(name: str, whole: bytes) -> None:
    digest = images.busybox(*LAYERS).digest
    assert sif_asks.ask(f"{name.rpartition(':')[0]}@{digest}").body == whole


def test_a_segment_that_is_evicted_while_it_is_downloaded_is_made_again(
    start_daemon: Callable[..., Daemon], registry: Registry
) -> None:
    node = start_daemon()
    layers = [images.random_layer(14, seed=number, name=f"data/{number}") for number in (11, 12, 13)]
    registry.push("lab/evicted", "1", images.image(layers))
    url = sif_asks.file_url(sif_asks.cached(node, registry, "lab/evicted:1"))
    with urllib.request.urlopen(url, timeout=sif_asks.MAKE_SECONDS) as answer:
        whole = answer.read()
    node.settle()
    parts = {path.name: path for path in (node.state / "blobs").rglob("*") if is_part(path, whole)}
    assert len(parts) == len(layers), "the segments of the layers, and no file of the whole"
    with urllib.request.urlopen(url, timeout=sif_asks.MAKE_SECONDS) as answer:
        got = answer.read(MEGABYTE)
        last = max(parts, key=lambda name: whole.index(parts[name].read_bytes()[:4096]))
        run([*zygote.PROGRAM, "cache", "gc", f"sha256:{last}", "--socket", node.state / "admin.sock"])
        assert not parts[last].exists()
        got += answer.read()
    assert got == whole
    wait_for(parts[last].exists, "the segment that was made again", sif_asks.MAKE_SECONDS)


def is_part(path: Path, whole: bytes) -> bool:
    """Tell whether a file of the store is a large part of the SIF."""
    return path.is_file() and path.stat().st_size > MEGABYTE and path.read_bytes() in whole


@dataclass
class Private:
    """A node, an image that ann alone may read, and what its SIF is."""

    node: Daemon
    name: str
    digest: str
    manifest: str
    image: str


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, node: Daemon, ann: User) -> Iterator[Private]:
    registry = Registry(tmp_path_factory.mktemp("private"), accounts=("ann",))
    registry.start()
    image = images.busybox(images.layer({"secret": b"nobody else may read this\n"}))
    registry.push("secret/tool", "1", image)
    ann.log_in(registry.host, "ann", PASSWORDS["ann"])
    name = sif_asks.cached(node, registry, "secret/tool:1")
    answer = ann.get(node.url + nextflow.manifest_path(sif_asks.sif_name(name)), Accept=sif_asks.ACCEPT)
    assert answer.status == 200, answer.body
    (layer,) = answer.json()["layers"]
    yield Private(node, name, layer["digest"], answer.headers["docker-content-digest"], image.digest)
    registry.stop()


def paths(private: Private) -> list[str]:
    """Return all by which the SIF of the private image can be asked for."""
    sif = sif_asks.sif_name(private.name)
    by_tag = nextflow.manifest_path(sif)
    file = "/" + sif.partition("/")[2]
    return [
        by_tag,
        by_tag.rpartition("/")[0] + f"/{private.manifest}",
        nextflow.blob_path(sif, private.digest),
        f"{file}.sif",
        f"{file.rpartition(':')[0]}@{private.image}.sif",
    ]


def test_who_may_have_an_image_has_its_sif(private: Private, ann: User) -> None:
    for path in paths(private):
        assert ann.get(private.node.url + path, Accept=f"{sif_asks.ACCEPT}, */*").status == 200, path


def test_another_user_has_neither_the_sif_nor_a_word_of_it(private: Private, ann: User, bob: User) -> None:
    ann.get(private.node.url + paths(private)[0])
    for path in paths(private):
        for method in ("GET", "HEAD"):
            headers = {"Accept": f"{sif_asks.ACCEPT}, */*"}
            for answer in (
                bob.request(method, private.node.url + path, headers=headers),
                request(method, private.node.url + path, headers=headers),
            ):
                assert answer.status in REFUSED, (method, path, answer)
                assert private.digest not in str(answer.headers)


def test_a_private_sif_by_its_digest_under_a_public_name(private: Private, name: str, whole: bytes, bob: User) -> None:
    public = sif_asks.sif_name(name)
    assert bob.get(sif_asks.file_url(name)).status == 200
    for path in (
        nextflow.blob_path(public, private.digest),
        nextflow.manifest_path(public).rpartition("/")[0] + f"/{private.manifest}",
        nextflow.blob_path(name, private.digest),
    ):
        assert bob.get(private.node.url + path, Accept=sif_asks.ACCEPT).status == 404


def test_the_token_of_another_users_request_gives_no_file(private: Private, ann: User, bob: User) -> None:
    source = private.name.partition("/")[2].replace("_", ":", 1)
    body = json.dumps(nextflow.body(containerImage=source)).encode()
    headers = {"Content-Type": "application/json"}
    answer = ann.request("POST", f"{private.node.url}/v1alpha2/container", headers=headers, body=body)
    assert answer.status == 200, answer.body
    token = answer.json()["targetImage"].split("/")[2]
    url = f"{private.node.url}/sif/tool--{token}.sif"
    given = ann.get(url)
    assert (given.status, given.headers["content-disposition"]) == (200, f'attachment; filename="tool--{token}.sif"')
    for answer in (bob.get(url), bob.request("HEAD", url)):
        assert answer.status == 403


def test_the_sif_of_an_image_that_a_user_has_pushed_is_that_users(
    start_daemon: Callable[..., Daemon], ann: User, bob: User
) -> None:
    node = start_daemon(WAVELET_HOSTED_PUSHES="on")
    image = images.busybox(images.layer({"own": b"of ann\n"}), family=images.OCI)
    repository = f"{node.url}/v2/local/own/tool"
    for digest, blob in image.blobs.items():
        assert ann.request("POST", f"{repository}/blobs/uploads/?digest={digest}", body=blob).status == 201
    headers = {"Content-Type": image.media_type}
    put = ann.request("PUT", f"{repository}/manifests/1", headers=headers, body=image.document)
    assert put.status == 201, put.body
    sif = f"{node.url}/v2/sif/local/own/tool"
    manifest = ann.get(f"{sif}/manifests/1", Accept=sif_asks.ACCEPT)
    assert manifest.status == 200, manifest.body
    digest = manifest.json()["layers"][0]["digest"]
    assert ann.get(f"{sif}/tags/list").json()["tags"] == ["1"]
    file = ann.get(f"{node.url}/sif/local/own/tool:1.sif")
    assert (file.status, f"sha256:{hashlib.sha256(file.body).hexdigest()}") == (200, digest)
    for path in (f"{sif}/manifests/1", f"{sif}/blobs/{digest}", f"{node.url}/sif/local/own/tool:1.sif"):
        assert bob.get(path, Accept=f"{sif_asks.ACCEPT}, */*").status in REFUSED, path
