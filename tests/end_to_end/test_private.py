"""Who may read what: two real users and root, against private, public and revoked content, through every door."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import images, nextflow
from lab.daemon import Daemon
from lab.engines import Containerd, Docker
from lab.http import Answer, request
from lab.registry import PASSWORDS, Registry
from lab.users import User
from lab.written import contents

pytestmark = [pytest.mark.registry, pytest.mark.users]

REFUSED = (401, 403, 404)
ACCEPT = ", ".join(images.MANIFEST_TYPES)
TELLING = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("docker", "containerd")]
SECRET = images.layer({"secret": b"nobody else may read this\n"})
ADDED = images.layer({"added": b"a layer of the request\n"})


@dataclass
class Site:
    """A daemon with a private registry that ann has a login for, and a public one."""

    node: Daemon
    private: Registry
    source: str
    image: images.Image


def ask_as(user: User, node: Daemon, **fields: Any) -> Answer:
    """POST a container request as this user."""
    body = json.dumps(nextflow.body(**fields)).encode()
    headers = {"Content-Type": "application/json"}
    return user.request("POST", f"{node.url}/v1alpha2/container", headers=headers, body=body)


def target_as(user: User, node: Daemon, image: str, **fields: Any) -> str:
    """Return the name that the user is given for `image`."""
    answer = ask_as(user, node, containerImage=image, **fields)
    assert answer.status == 200, answer.body
    return str(answer.json()["targetImage"])


def doors(name: str, image: images.Image) -> list[tuple[str, str]]:
    """Return method and path of everything that can be asked under a name of `image`."""
    manifest = nextflow.manifest_path(name)
    by_digest = manifest.rpartition("/")[0] + f"/{image.digest}"
    blob = nextflow.blob_path(name, SECRET.digest)
    config = nextflow.blob_path(name, image.json()["config"]["digest"])
    tags = nextflow.tags_path(name)
    referrers = manifest.partition("/manifests/")[0] + f"/referrers/{image.digest}"
    asked = [("GET", path) for path in (manifest, by_digest, blob, config, tags, referrers)]
    return asked + [("HEAD", path) for path in (manifest, by_digest, blob, config)]


def expect_nothing(user: User, node: Daemon, name: str, image: images.Image) -> None:
    """Check that the user gets nothing of what lies under `name`."""
    for method, path in doors(name, image):
        answer = user.request(method, node.url + path, headers={"Accept": ACCEPT})
        if "/frozen/" in path and path.endswith("/tags/list"):
            assert (answer.status, answer.json()["tags"]) == (200, []), "as where nothing is frozen by that name"
            continue
        assert answer.status in REFUSED, (method, path, answer)
        assert "docker-content-digest" not in answer.headers
        assert SECRET.digest.encode() not in answer.body or path.endswith(SECRET.digest)
        assert answer.body != SECRET.blob


def site_of(node: Daemon, private: Registry, user: User) -> Site:
    image = images.busybox(SECRET)
    source = private.push("secret/tool", "1", image)
    user.log_in(private.host, "ann", PASSWORDS["ann"])
    return Site(node, private, source, image)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, node: Daemon, ann: User) -> Iterator[Site]:
    private = Registry(tmp_path_factory.mktemp("private"), accounts=("ann",))
    private.start()
    yield site_of(node, private, ann)
    private.stop()


@pytest.mark.docker
def test_the_owner_of_the_login_asks_and_the_engine_pulls(site: Site, ann: User, docker: Docker) -> None:
    for freeze in (False, True):
        name = target_as(ann, site.node, site.source, config={"layers": [ADDED.in_request()]}, freeze=freeze)
        docker.pull(name)
        assert docker.run(name, "cat", "/secret", "/added") == "nobody else may read this\na layer of the request\n"


@pytest.mark.skopeo
def test_the_owner_of_the_login_pulls(site: Site, ann: User) -> None:
    name = target_as(ann, site.node, site.source)
    ann.run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{ann.home}/copy")
    blob = ann.run("sha256sum", f"{ann.home}/copy/{SECRET.digest.removeprefix('sha256:')}")
    assert blob.startswith(SECRET.digest.removeprefix("sha256:"))


@pytest.mark.parametrize("freeze", [False, True], ids=["for-a-while", "frozen"])
@pytest.mark.parametrize("config", [{}, {"layers": [ADDED.in_request()]}], ids=["as-is", "augmented"])
def test_another_user_with_the_name(site: Site, ann: User, bob: User, config: dict[str, Any], freeze: bool) -> None:
    name = target_as(ann, site.node, site.source, config=config, freeze=freeze)
    assert ann.get(site.node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert ann.get(site.node.url + nextflow.blob_path(name, SECRET.digest)).body == SECRET.blob
    expect_nothing(bob, site.node, name, site.image)


def test_another_user_asks_for_it(site: Site, ann: User, bob: User) -> None:
    target_as(ann, site.node, site.source)
    answer = ask_as(bob, site.node, containerImage=site.source)
    assert 400 <= answer.status < 500
    assert "refuse" in answer.json()["message"]


def test_root_has_no_login_of_its_own(site: Site) -> None:
    answer = nextflow.post(site.node, containerImage=site.source)
    assert 400 <= answer.status < 500


def test_the_near_cache_gives_private_content_to_nobody_else(site: Site, ann: User, bob: User) -> None:
    cached = f"{site.node.authority}/{site.private.host.replace(':', '_')}/secret/tool:1"
    name = target_as(ann, site.node, site.source)
    assert ann.get(site.node.url + nextflow.blob_path(name, SECRET.digest)).status == 200
    expect_nothing(bob, site.node, cached, site.image)
    for method, path in doors(cached, site.image):
        answer = request(method, site.node.url + path, headers={"Accept": ACCEPT})
        assert answer.status in REFUSED, "an engine without a token has no user's login"


@pytest.mark.parametrize("engine_name", TELLING)
def test_the_engines_user_is_told_who_refuses(site: Site, engine_name: str, request: pytest.FixtureRequest) -> None:
    engine: Docker | Containerd = request.getfixturevalue(engine_name)
    told = engine.pull_error(f"{site.node.authority}/{site.private.host.replace(':', '_')}/secret/tool:1")
    assert site.private.host in told
    assert "refuse" in told


def test_the_near_cache_knows_its_caller(site: Site, ann: User) -> None:
    cached = f"{site.node.authority}/{site.private.host.replace(':', '_')}/secret/tool:1"
    answer = ann.get(site.node.url + nextflow.manifest_path(cached), Accept=ACCEPT)
    assert (answer.status, answer.body) == (200, site.image.document)
    assert ann.get(site.node.url + nextflow.blob_path(cached, SECRET.digest)).body == SECRET.blob


def test_a_guessed_digest_under_a_public_name(site: Site, ann: User, bob: User, registry: Registry) -> None:
    private = target_as(ann, site.node, site.source)
    assert ann.get(site.node.url + nextflow.blob_path(private, SECRET.digest)).status == 200
    public = target_as(bob, site.node, f"{registry.host}/lab/busybox:1")
    assert bob.get(site.node.url + nextflow.manifest_path(public), Accept=ACCEPT).status == 200
    for name in (public, f"{site.node.authority}/{registry.host.replace(':', '_')}/lab/busybox:1"):
        for digest in (SECRET.digest, site.image.json()["config"]["digest"]):
            answer = bob.get(site.node.url + nextflow.blob_path(name, digest))
            assert answer.status in REFUSED
        by_digest = nextflow.manifest_path(name).rpartition("/")[0] + f"/{site.image.digest}"
        assert bob.get(site.node.url + by_digest, Accept=ACCEPT).status in REFUSED


@pytest.mark.parametrize("where", ["private registry", "inline", "nowhere"])
def test_a_guessed_digest_named_in_a_layer(
    site: Site, ann: User, bob: User, registry: Registry, free_port: int, where: str
) -> None:
    private = target_as(ann, site.node, site.source)
    assert ann.get(site.node.url + nextflow.blob_path(private, SECRET.digest)).status == 200
    layer = SECRET.in_request(
        {
            "private registry": f"{site.private.url}/v2/secret/tool/blobs/{SECRET.digest}",
            "inline": ADDED.in_request()["location"],
            "nowhere": f"http://127.0.0.1:{free_port}/layer.tar.gz",
        }[where]
    )
    source = f"{registry.host}/lab/busybox:1"
    answer = ask_as(bob, site.node, containerImage=source, config={"layers": [layer]})
    if answer.status != 200:
        assert 400 <= answer.status < 500
        return
    assert answer.json().get("succeeded") is not True
    name = answer.json()["targetImage"]
    for path in (nextflow.blob_path(name, SECRET.digest), nextflow.manifest_path(name)):
        got = bob.get(site.node.url + path, Accept=ACCEPT)
        assert got.status >= 400
        assert got.body != SECRET.blob


def test_a_layer_that_another_user_sent(node: Daemon, ann: User, bob: User, registry: Registry, free_port: int) -> None:
    layer = images.layer({"inline": b"sent by ann\n"})
    source = f"{registry.host}/lab/busybox:1"
    target_as(ann, node, source, config={"layers": [layer.in_request()]})
    claimed = layer.in_request(f"http://127.0.0.1:{free_port}/layer.tar.gz")
    answer = ask_as(bob, node, containerImage=source, config={"layers": [claimed], "env": ["OTHER=1"]})
    if answer.status == 200:
        assert answer.json().get("succeeded") is not True
        path = nextflow.blob_path(answer.json()["targetImage"], layer.digest)
        assert bob.get(node.url + path).status >= 400
    else:
        assert 400 <= answer.status < 500


def test_an_included_private_image(site: Site, ann: User, bob: User, registry: Registry) -> None:
    source = f"{registry.host}/lab/busybox:1"
    name = target_as(ann, site.node, source, containerIncludes=[site.source])
    assert ann.get(site.node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert ann.get(site.node.url + nextflow.blob_path(name, SECRET.digest)).body == SECRET.blob
    answer = ask_as(bob, site.node, containerImage=source, containerIncludes=[site.source])
    assert 400 <= answer.status < 500
    expect_nothing(bob, site.node, name, site.image)


def test_public_content_is_for_everybody(node: Daemon, ann: User, bob: User, registry: Registry) -> None:
    source, image = f"{registry.host}/lab/busybox:1", images.busybox()
    name = target_as(ann, node, source)
    assert target_as(bob, node, source) == name
    layer = images.busybox_layer()
    for user in (ann, bob):
        assert user.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).body == image.document
        assert user.get(node.url + nextflow.blob_path(name, layer.digest)).body == layer.blob
    assert node.get(nextflow.blob_path(name, layer.digest)).body == layer.blob


def test_a_revoked_login(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], ann: User, bob: User
) -> None:
    node = start_daemon(WAVELET_UPSTREAM_ACCESS_TTL=0.3, WAVELET_UPSTREAM_TAG_TTL=0.3)
    site = site_of(node, start_registry(accounts=("ann",)), ann)
    name = target_as(ann, node, site.source)
    assert ann.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert ann.get(node.url + nextflow.blob_path(name, SECRET.digest)).body == SECRET.blob
    site.private.revoke_all()
    time.sleep(0.5)
    expect_nothing(ann, node, name, site.image)
    expect_nothing(bob, node, name, site.image)
    for method, path in doors(name, site.image):
        answer = request(method, node.url + path, headers={"Accept": ACCEPT})
        assert answer.status in REFUSED, "an engine has no more than the one who asked"


def test_what_was_granted_outlives_the_registry(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], ann: User, bob: User
) -> None:
    node = start_daemon(WAVELET_UPSTREAM_ACCESS_TTL=0.3, WAVELET_UPSTREAM_TAG_TTL=0.3)
    site = site_of(node, start_registry(accounts=("ann",)), ann)
    name = target_as(ann, node, site.source)
    assert ann.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert ann.get(node.url + nextflow.blob_path(name, SECRET.digest)).status == 200
    site.private.stop()
    time.sleep(0.5)
    assert ann.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert ann.get(node.url + nextflow.blob_path(name, SECRET.digest)).body == SECRET.blob
    blob = bob.get(node.url + nextflow.blob_path(name, SECRET.digest))
    assert blob.status >= 400
    assert blob.body != SECRET.blob


def test_a_site_login_is_for_everybody(
    start_daemon: Callable[..., Daemon], start_registry: Callable[..., Registry], bob: User, tmp_path: Path
) -> None:
    private = start_registry(accounts=("ann",))
    source = private.push("secret/tool", "1", images.busybox(SECRET))
    password = tmp_path / "password"
    password.write_text(PASSWORDS["ann"])
    login = {"registry": private.host, "username": "ann", "password_file": str(password)}
    node = start_daemon(settings={"upstream": {"credentials": [login]}})
    name = target_as(bob, node, source)
    assert bob.get(node.url + nextflow.manifest_path(name), Accept=ACCEPT).status == 200
    assert bob.get(node.url + nextflow.blob_path(name, SECRET.digest)).body == SECRET.blob
    assert PASSWORDS["ann"] not in node.log()


def test_a_user_who_logs_in_on_the_request(site: Site, bob: User) -> None:
    cached = f"{site.node.authority}/{site.private.host.replace(':', '_')}/secret/tool:1"
    basic = "Basic YW5uOmFubi1wYXNzd29yZA=="
    answer = bob.get(site.node.url + nextflow.manifest_path(cached), Accept=ACCEPT, Authorization=basic)
    assert answer.status == 200
    expect_nothing(bob, site.node, cached, site.image)


def test_secrets_are_in_no_log_and_no_readable_file(site: Site, ann: User) -> None:
    target_as(ann, site.node, site.source)
    assert PASSWORDS["ann"] not in site.node.log()
    for path, content in contents(site.node.state):
        assert PASSWORDS["ann"].encode() not in content, path
