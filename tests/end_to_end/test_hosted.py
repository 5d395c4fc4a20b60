"""Images that are pushed to the node: by real clients, for whom, as bases of others, and what survives what."""

from __future__ import annotations

import http.client
import json
import os
import signal
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from groups import program
from lab import images, nextflow, zygote
from lab.daemon import Daemon
from lab.engines import Docker, Podman, skopeo
from lab.hosted import index_of, small_image
from lab.http import Answer, request
from lab.processes import run, wait_for
from lab.registry import Registry
from lab.users import User

ON = {"hosted": {"pushes": "on"}}
ACCEPT = {"Accept": ", ".join(images.MANIFEST_TYPES)}
LAYER = images.layer({"opt/data.txt": b"added\n"})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon that takes pushes of everybody."""
    daemon = Daemon(tmp_path_factory.mktemp("host") / "state", settings=ON)
    yield daemon.start()
    daemon.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Return a function that starts a daemon that takes pushes, in a directory of the test."""
    with ExitStack() as stack:

        def begin(name: str = "state", **settings: Any) -> Daemon:
            daemon = Daemon(tmp_path / name, settings=ON | settings)
            stack.callback(daemon.stop)
            return daemon.start()

        yield begin


def wavelet(node: Daemon, *arguments: str) -> str:
    """Run a command against a daemon; return what it prints."""
    return run([*zygote.PROGRAM, *arguments, "--socket", str(node.state / "admin.sock")]).stdout


def manifest(node: Daemon, name: str, reference: str) -> Answer:
    return request("GET", f"{node.url}/v2/{name}/manifests/{reference}", headers=ACCEPT)


def push_as(user: User, node: Daemon, name: str, tag: str, image: images.Image) -> None:
    """Push an image from processes of a user."""
    for digest, blob in image.blobs.items():
        sent = user.request("POST", f"{node.url}/v2/{name}/blobs/uploads/?digest={digest}", body=blob)
        assert sent.status == 201, sent.body
    headers = {"Content-Type": image.media_type}
    sent = user.request("PUT", f"{node.url}/v2/{name}/manifests/{tag}", headers=headers, body=image.document)
    assert sent.status == 201, sent.body


# -- real clients -----------------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_docker_pushes_what_it_has_and_runs_what_it_pulls(host: Daemon, docker: Docker) -> None:
    images.push(host.url, "local/first", "1", images.busybox(images.layer({"greeting": b"hello\n"})))
    name, other = f"{host.authority}/local/first:1", f"{host.authority}/local/team/second:2"
    docker.pull(name)
    docker.tag(name, other)
    docker.push(other)
    for each in (name, other):
        docker.remove(each)
    docker.pull(other)
    assert docker.run(other, "cat", "/greeting") == "hello\n"
    docker.push(other)  # all of it is there
    assert docker.digest(other) == manifest(host, "local/team/second", "2").headers["docker-content-digest"]


@pytest.mark.docker
def test_docker_shows_what_is_refused(host: Daemon, node: Daemon, docker: Docker) -> None:
    images.push(host.url, "local/shown", "1", images.busybox())
    name = f"{host.authority}/local/shown:1"
    docker.pull(name)
    for target, said in (
        (f"{host.authority}/lab/other:1", "local/NAME"),
        (f"{node.authority}/local/x:1", "hosted.pushes"),
    ):
        docker.tag(name, target)
        assert said in docker.push_error(target)


@pytest.mark.podman
def test_podman_pushes_and_runs(host: Daemon, podman: Podman) -> None:
    images.push(host.url, "local/pod", "1", images.busybox(images.layer({"greeting": b"hello\n"})))
    name, other = f"{host.authority}/local/pod:1", f"{host.authority}/local/pod:copy"
    podman.pull(name)
    podman.push(name, other)
    podman.remove(name)
    podman.pull(other)
    assert podman.run(other, "cat", "/greeting") == "hello\n"


@pytest.mark.skopeo
@pytest.mark.parametrize("family", [images.DOCKER, images.OCI])
def test_skopeo_copies_whole_indexes_both_ways(host: Daemon, tmp_path: Path, family: str) -> None:
    index = images.index(
        [small_image("a", family=family), small_image("b", family=family, platform="linux/arm64")], family=family
    )
    source = f"local/skopeo-{family}"
    images.push(host.url, source, "1", index)
    name = f"docker://{host.authority}/{source}:1"
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", name, f"dir:{tmp_path}/out")
    copied = f"docker://{host.authority}/{source}-again:1"
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"dir:{tmp_path}/out", copied)
    again = manifest(host, f"{source}-again", "1")
    assert (again.body, again.headers["content-type"]) == (index.document, index.media_type)


@pytest.mark.crane
def test_crane_copies_mounts_lists_and_deletes(host: Daemon, tmp_path: Path) -> None:
    index = index_of("one", "two")
    images.push(host.url, "local/crane", "1", index)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    crane = program("crane")
    assert crane is not None

    def call(*arguments: str) -> str:
        return run([crane, *arguments, "--insecure"], environment=environment).stdout

    copy = f"{host.authority}/local/crane-copy"
    call("copy", f"{host.authority}/local/crane:1", f"{copy}:2")
    assert manifest(host, "local/crane-copy", "2").body == index.document
    assert call("ls", copy).split() == ["2"]
    call("pull", f"{copy}:2", str(tmp_path / "image.tar"))
    call("push", str(tmp_path / "image.tar"), f"{copy}:3")
    assert "PASS" in call("validate", "--remote", f"{copy}:3")
    call("delete", f"{copy}@{index.digest}")
    assert manifest(host, "local/crane-copy", "2").status == 404
    assert call("ls", copy).split() == ["3"]


@pytest.mark.podman
@pytest.mark.skipif(program("buildah") is None, reason="needs buildah")
def test_buildah_pushes(host: Daemon, tmp_path: Path) -> None:
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": str(tmp_path)}
    storage = [
        "buildah",
        "--root",
        str(tmp_path / "root"),
        "--runroot",
        str(tmp_path / "run"),
        "--storage-driver",
        "vfs",
    ]
    (tmp_path / "file").write_text("content")

    def call(*arguments: str) -> str:
        return run([*storage, *arguments], environment=environment).stdout.strip()

    container = call("from", "scratch")
    call("add", container, str(tmp_path / "file"), "/file")
    image = call("commit", "--quiet", container)
    call("push", "--tls-verify=false", image, f"docker://{host.authority}/local/built:1")
    assert manifest(host, "local/built", "1").status == 200


# -- for whom ---------------------------------------------------------------------------------------------------------


def test_what_a_user_pushes_is_that_users(host: Daemon, ann: User, bob: User) -> None:
    anns, bobs = small_image("anns"), small_image("bobs")
    push_as(ann, host, "local/mine", "1", anns)
    layer = next(iter(anns.blobs))
    for reader in (bob.get, host.get):
        get = (lambda path: bob.get(host.url + path)) if reader is bob.get else host.get
        assert get("/v2/local/mine/manifests/1").status == 404
        assert get(f"/v2/local/mine/manifests/{anns.digest}").status == 404
        assert get(f"/v2/local/mine/blobs/{layer}").status == 404
        assert get("/v2/local/mine/tags/list").json()["tags"] == []
    mounted = bob.request("POST", f"{host.url}/v2/local/theirs/blobs/uploads/?mount={layer}&from=local/mine")
    assert mounted.status == 202
    assert bob.request("DELETE", f"{host.url}/v2/local/mine/manifests/{anns.digest}").status == 404
    push_as(bob, host, "local/mine", "1", bobs)
    assert ann.get(f"{host.url}/v2/local/mine/manifests/1").body == anns.document
    assert bob.get(f"{host.url}/v2/local/mine/manifests/1").body == bobs.document
    # What an engine has pushed, all may read, and nobody but engines change.
    images.push(host.url, "local/for-all", "1", bobs)
    assert ann.get(f"{host.url}/v2/local/for-all/manifests/1").body == bobs.document
    assert ann.request("DELETE", f"{host.url}/v2/local/for-all/manifests/1").status == 404


def test_who_may_push_is_a_setting(node: Daemon, ann: User, tmp_path: Path) -> None:
    refused = request("POST", f"{node.url}/v2/local/tool/blobs/uploads/")
    assert refused.status == 403
    error = refused.json()["errors"][0]
    assert error["code"] == "DENIED"
    assert "hosted.pushes" in error["message"]
    for method, path in (("PUT", "manifests/1"), ("DELETE", "manifests/1"), ("GET", "blobs/uploads/x")):
        assert request(method, f"{node.url}/v2/local/tool/{path}").status == 403
    assert node.get("/v2/local/tool/manifests/1").status == 404


@pytest.mark.users
@pytest.mark.docker
def test_a_users_own_daemon_takes_that_users_pushes(
    start_daemon: Callable[..., Daemon], ann: User, bob: User, docker: Docker
) -> None:
    """Without a setting: also those of the node's engines, which push and pull for the user there."""
    node = start_daemon(ann.home.parent / "own", before=ann.prefix(), HOME=ann.home)
    push_as(ann, node, "local/own", "1", images.busybox(images.layer({"greeting": b"hello\n"})))
    name, other = f"{node.authority}/local/own:1", f"{node.authority}/local/own:2"
    docker.pull(name)
    docker.tag(name, other)
    docker.push(other)
    assert ann.get(f"{node.url}/v2/local/own/tags/list").json()["tags"] == ["1", "2"]
    assert bob.request("POST", f"{node.url}/v2/local/own/blobs/uploads/").status == 403
    nobody = {"Via": "1.1 wavelet"}
    refused = request("POST", f"{node.url}/v2/local/own/blobs/uploads/", headers=nobody)
    assert (refused.status, "hosted.pushes" in refused.json()["errors"][0]["message"]) == (403, True)
    assert request("GET", f"{node.url}/v2/local/own/manifests/1", headers=nobody | ACCEPT).status == 404


@pytest.mark.parametrize(
    "name", ["library/busybox", "quay.io/a/b", "wt/" + "0" * 32 + "/x", "conda/samtools", "locally/x", "local"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1"), ("PATCH", "blobs/uploads/x")],
)
def test_nothing_can_be_pushed_elsewhere(host: Daemon, name: str, method: str, path: str) -> None:
    answer = request(method, f"{host.url}/v2/{name}/{path}", body=b"x")
    assert answer.status == 405
    assert "local/NAME" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("header", [{"Origin": "http://page.example"}, {"Host": "rebound.example"}])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pages_cannot_push(host: Daemon, method: str, header: dict[str, str]) -> None:
    images.push(host.url, "local/guarded", "1", small_image("guarded"))
    for path in ("blobs/uploads/", "manifests/1"):
        assert request(method, f"{host.url}/v2/local/guarded/{path}", headers=header).status == 421
    assert manifest(host, "local/guarded", "1").status == 200


def test_a_wavelet_does_not_push_as_whoever_runs_it(host: Daemon) -> None:
    """A daemon that is made to ask another one speaks for nobody in particular."""
    answer = request("GET", f"{host.url}/v2/local/x/manifests/1", headers={"Via": "1.1 wavelet"})
    assert answer.status == 404


def test_nobody_changes_what_is_everybodys_by_saying_that_a_wavelet_asks(host: Daemon, bob: User) -> None:
    images.push(host.url, "local/everybodys", "1", small_image("everybodys"))
    via = {"Via": "1.1 wavelet"}
    for method, path in (("POST", "blobs/uploads/"), ("PUT", "manifests/1"), ("DELETE", "manifests/1")):
        refused = bob.request(method, f"{host.url}/v2/local/everybodys/{path}", headers=via)
        assert (refused.status, "for whom" in refused.json()["errors"][0]["message"]) == (403, True)
    push_as(bob, host, "local/bobs", "1", small_image("bobs"))
    body = {
        "containerImage": f"{host.authority}/local/bobs:1",
        "mirror": True,
        "buildRepository": f"[::ffff:127.0.0.1]:{host.authority.rpartition(':')[2]}/local/everybodys",
    }
    headers = {"Content-Type": "application/json"}
    asked = bob.request("POST", f"{host.url}/v1alpha2/container", headers=headers, body=json.dumps(body).encode())
    assert "for whom" in asked.json()["message"]
    assert manifest(host, "local/everybodys", "1").body == small_image("everybodys").document


def test_nobody_changes_what_is_everybodys_by_hanging_up(start: Callable[..., Daemon]) -> None:
    """The kernel does not say who has opened a connection that was closed before it was looked at."""
    node = start()
    images.push(node.url, "local/everybodys", "1", small_image("everybodys"))
    document = json.dumps({"schemaVersion": 2, "mediaType": images.MANIFEST_TYPES[0], "manifests": []}).encode()
    os.kill(node.pid, signal.SIGSTOP)
    try:
        connection = http.client.HTTPConnection(*node.authority.split(":"))
        headers = {"Content-Type": images.MANIFEST_TYPES[0]}
        connection.request("PUT", "/v2/local/everybodys/manifests/1", body=document, headers=headers)
        connection.close()
    finally:
        os.kill(node.pid, signal.SIGCONT)
    wait_for(lambda: "nothing says for whom" in (node.state / "audit.log").read_text(), "the refusal", 10)
    assert manifest(node, "local/everybodys", "1").body == small_image("everybodys").document


# -- what survives ----------------------------------------------------------------------------------------------------


def test_restarts_and_eviction(start: Callable[..., Daemon]) -> None:
    node = start()
    image = index_of("a", "b")
    images.push(node.url, "local/kept", "1", image)
    node.settle()
    node.kill()
    (node.state / "node.db").unlink()
    node.start()
    wavelet(node, "cache", "gc", "--keep", "0")
    for member in image.members:
        for digest, blob in member.blobs.items():
            assert node.get(f"/v2/local/kept/blobs/{digest}").body == blob
    assert manifest(node, "local/kept", "1").body == image.document
    ranged = request("GET", f"{node.url}/v2/local/kept/blobs/{digest}", headers={"Range": "bytes=1-3"})
    assert (ranged.status, ranged.body) == (206, blob[1:4])
    head = node.head(f"/v2/local/kept/blobs/{digest}")
    assert (head.status, head.headers["content-length"]) == (200, str(len(blob)))
    tag = f'"{image.digest}"'
    assert node.get("/v2/local/kept/manifests/1", **ACCEPT | {"If-None-Match": tag}).status == 304


def test_kill_9_in_the_middle_of_an_upload_leaves_nothing_half(start: Callable[..., Daemon]) -> None:
    node = start()
    begun = request("POST", f"{node.url}/v2/local/half/blobs/uploads/")
    place = begun.headers["location"]
    sent = request("PATCH", node.url + place, body=b"x" * 3_000_000)
    assert (sent.status, sent.headers["range"]) == (202, "0-2999999")
    connection = http.client.HTTPConnection(*node.authority.split(":"))
    connection.putrequest("PATCH", place)
    connection.putheader("Content-Length", "9000000")
    connection.endheaders(b"y" * 2_000_000)
    wait_for(lambda: sum(f.stat().st_size for f in (node.state / "partial").iterdir()) > 3_000_000, "bytes", 10)
    node.kill()
    node.start()
    connection.close()
    wait_for(lambda: not list((node.state / "partial").iterdir()), "the end of what was half", 10)
    assert request("GET", node.url + place).status == 404
    assert not list((node.state / "blobs").glob("*/*/*"))


def test_an_upload_goes_on_where_its_connection_broke(start: Callable[..., Daemon]) -> None:
    node = start()
    data = os.urandom(3_000_000)
    place = request("POST", f"{node.url}/v2/local/resumed/blobs/uploads/").headers["location"]
    connection = http.client.HTTPConnection(*node.authority.split(":"))
    connection.putrequest("PATCH", place)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders(data[:2_000_000])
    wait_for(lambda: _come(node, place) > 0, "the first bytes", 10)
    connection.close()
    wait_for(lambda: request("PATCH", node.url + place).status == 202, "the end of the first request", 10)
    come = _come(node, place)
    headers = {"Content-Range": f"{come}-{len(data) - 1}"}
    assert request("PATCH", node.url + place, headers=headers, body=data[come:]).status == 202
    digest = images.sha256(data)
    assert request("PUT", f"{node.url}{place}?digest={urllib.parse.quote(digest)}").status == 201
    assert node.get(f"/v2/local/resumed/blobs/{digest}").body == data


def _come(node: Daemon, place: str) -> int:
    last = int(request("GET", node.url + place).headers["range"].partition("-")[2])
    return last + 1 if last else 0


def test_the_limit_is_said(start: Callable[..., Daemon]) -> None:
    node = start(hosted={"pushes": "on", "limit": "1MB"})
    data = os.urandom(2_000_000)
    refused = request("POST", f"{node.url}/v2/local/big/blobs/uploads/?digest={images.sha256(data)}", body=data)
    assert refused.status == 507
    assert "hosted.limit" in refused.json()["errors"][0]["message"]
    document = b" " * (4 * 1024 * 1024 + 1)
    headers = {"Content-Type": images.MANIFEST_TYPES[0]}
    assert request("PUT", f"{node.url}/v2/local/big/manifests/1", headers=headers, body=document).status == 413


def test_the_command_lists_and_removes(start: Callable[..., Daemon]) -> None:
    node = start()
    image = small_image("listed")
    images.push(node.url, "local/listed", "1", image)
    (row,) = json.loads(wavelet(node, "cache", "ls", "--output", "json"))
    assert (row["name"], row["digest"], row["pushedBy"]) == ("local/listed:1", image.digest, "anonymous")
    assert "local/listed:1" in wavelet(node, "cache", "ls")
    assert "pushed" in wavelet(node, "cache", "stats")
    assert "removed 3 blobs" in wavelet(node, "cache", "gc", "local/listed:1")
    assert manifest(node, "local/listed", "1").status == 404
    lines = [json.loads(line) for line in (node.state / "audit.log").read_text().splitlines()]
    assert [(line["decision"], line["name"]) for line in lines if line["decision"] in ("pushed", "evicted")] == [
        ("pushed", "local/listed:1"),
        ("evicted", "local/listed:1"),
    ]


# -- as a base, and on other nodes ------------------------------------------------------------------------------------


@pytest.mark.docker
def test_a_request_stands_on_what_was_pushed(host: Daemon, docker: Docker) -> None:
    name = f"{host.authority}/local/base:1"
    images.push(host.url, "local/base", "1", images.busybox(images.layer({"own": b"first\n"})))
    config = {"layers": [LAYER.in_request()]}
    first = nextflow.target(host, name, config=config)
    docker.pull(first)
    assert docker.run(first, "cat", "/own", "/opt/data.txt") == "first\nadded\n"
    images.push(host.url, "local/base", "1", images.busybox(images.layer({"own": b"second\n"})))
    second = nextflow.target(host, name, config=config)
    assert second != first
    docker.pull(second)
    assert docker.run(second, "cat", "/own") == "second\n"


def test_a_request_on_a_users_image_is_that_users(host: Daemon, ann: User, bob: User) -> None:
    push_as(ann, host, "local/private", "1", small_image("private"))
    body = json.dumps(
        {"containerImage": f"{host.authority}/local/private:1", "containerConfig": {"layers": [LAYER.in_request()]}}
    )
    headers = {"Content-Type": "application/json"}

    def ask(user: User) -> Answer:
        return user.request("POST", f"{host.url}/v1alpha2/container", headers=headers, body=body.encode())

    answer = ask(ann)
    assert answer.status == 200, answer.body
    path = nextflow.manifest_path(answer.json()["targetImage"])
    assert ann.request("GET", host.url + path, headers=ACCEPT).status == 200
    assert host.get(path, **ACCEPT).status == 200  # an engine pulls for the owner of a name
    assert bob.request("GET", host.url + path, headers=ACCEPT).status == 403
    refused = ask(bob)
    assert refused.status == 404
    assert "was not pushed to this node, or not by whoever asks" in refused.json()["message"]


def test_another_node_says_where_it_was_pushed(start: Callable[..., Daemon], tmp_path: Path) -> None:
    records = {"directory": str(tmp_path / "shared")}
    first, second = start("first", records=records), start("second", records=records)
    images.push(first.url, "local/there", "1", small_image("there"))
    for reference in ("1", small_image("there").digest):
        answer = manifest(second, "local/there", reference)
        assert answer.status == 404
        assert f"was pushed on node {os.uname().nodename}" in answer.json()["errors"][0]["message"]
    assert request("DELETE", f"{first.url}/v2/local/there/manifests/1").status == 202
    assert "was not pushed to this node" in manifest(second, "local/there", "1").json()["errors"][0]["message"]


def test_the_command_names_what_was_pushed(host: Daemon) -> None:
    index = index_of("x", "y")
    images.push(host.url, "local/named", "1", index)
    assert wavelet(host, "resolve", "--name", "local/named:1").strip() == f"{host.authority}/local/named:1"
    for name in ("local/named:1", f"{host.authority}/local/named:1"):
        assert index.digest in wavelet(host, "inspect", name)
    assert "local/named:1  sha256:" in wavelet(host, "pull", "local/named:1")
    assert "local.invalid" not in wavelet(host, "cache", "ls") + wavelet(host, "requests")


def test_a_pushed_image_is_mirrored_by_its_owner(host: Daemon, registry: Registry, ann: User) -> None:
    image = small_image("mirrored")
    push_as(ann, host, "local/mirrored", "1", image)
    asked = {
        "containerImage": f"{host.authority}/local/mirrored:1",
        "mirror": True,
        "buildRepository": f"{registry.host}/to",
    }
    headers = {"Content-Type": "application/json"}
    path = f"{host.url}/v1alpha2/container"
    answer = ann.request("POST", path, headers=headers, body=json.dumps(nextflow.body(**asked)).encode())
    assert answer.status == 200, answer.body
    target = answer.json()["targetImage"]
    wait_for(
        lambda: (
            request("GET", f"http://{registry.host}{nextflow.manifest_path(target)}", headers=ACCEPT).body
            == image.document
        ),
        target,
        20,
    )
