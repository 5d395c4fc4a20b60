"""Who may read a SIF: exactly who may read the image of which it is made, by whatever name or digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import images, sif_asks
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.registry import PASSWORDS, Registry
from lab.users import User

pytestmark = [pytest.mark.registry, pytest.mark.users]

REFUSED = (401, 403, 404)
SECRET = b"nobody else may read this in a SIF either\n"

IMAGE = images.busybox(images.layer({"secret": SECRET}))
LEAST_ADDED = 6
"""The layer and its configuration, its segment and the segment's index, and the head and tail of the SIF."""


@dataclass
class Site:
    """A node, a registry for ann alone, and the names under which an image of it is pulled, and one for everybody."""

    node: Daemon
    registry: Registry
    private: str
    public: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, registry: Registry, ann: User) -> Iterator[Site]:
    own = Registry(tmp_path_factory.mktemp("private-sif"), accounts=("ann",))
    own.start()
    own.push("secret/tool", "1", IMAGE)
    registry.push("lab/public", "1", images.busybox(images.layer({"public": b"for all\n"})))
    ann.log_in(own.host, "ann", PASSWORDS["ann"])
    daemon = Daemon(tmp_path_factory.mktemp("sif-node") / "state")
    daemon.start()
    try:
        yield Site(
            daemon,
            own,
            sif_asks.cached(daemon, own, "secret/tool:1"),
            sif_asks.cached(daemon, registry, "lab/public:1"),
        )
    finally:
        daemon.stop()
        own.stop()


def v2(name: str, kind: str, reference: str) -> str:
    """Return a URL of the registry below the SIF of an image's name."""
    authority, _, path = sif_asks.sif_name(name).partition("/")
    return f"http://{authority}/v2/{path.rpartition(':')[0]}/{kind}/{reference}"


def manifest_of(user: User, name: str) -> Answer:
    return user.request("GET", v2(name, "manifests", "1"), headers={"Accept": sif_asks.ACCEPT})


def expect_refused(answer: Answer) -> None:
    assert answer.status in REFUSED, answer
    assert "docker-content-digest" not in answer.headers
    assert SECRET not in answer.body


def test_whom_the_image_is_for_has_the_sif(site: Site, ann: User) -> None:
    answer = ann.get(sif_asks.file_url(site.private))
    assert answer.status == 200, answer.body
    (layer,) = manifest_of(ann, site.private).json()["layers"]
    assert layer["digest"] == images.sha256(answer.body)


def test_another_user_by_name_and_by_digest(site: Site, ann: User, bob: User) -> None:
    assert ann.get(sif_asks.file_url(site.private)).status == 200
    answer = manifest_of(ann, site.private)
    manifest, (layer,) = answer.headers["docker-content-digest"], answer.json()["layers"]
    config = answer.json()["config"]["digest"]
    expect_refused(bob.get(sif_asks.file_url(site.private)))
    expect_refused(bob.request("HEAD", sif_asks.file_url(site.private)))
    for name in (site.private, site.public):
        for each in (manifest, IMAGE.digest):
            expect_refused(bob.get(sif_asks.file_url(name).replace(":1.sif", f"@{each}.sif")))
    expect_refused(manifest_of(bob, site.private))
    expect_refused(bob.get(v2(site.private, "manifests", manifest), Accept=sif_asks.ACCEPT))
    for digest in (layer["digest"], config):
        expect_refused(bob.get(v2(site.private, "blobs", digest)))
    assert bob.get(sif_asks.file_url(site.public)).status == 200
    expect_refused(bob.get(v2(site.public, "blobs", layer["digest"])))
    expect_refused(bob.get(v2(site.public, "manifests", manifest), Accept=sif_asks.ACCEPT))


def test_who_cannot_be_told_from_others(site: Site, ann: User) -> None:
    assert ann.get(sif_asks.file_url(site.private)).status == 200
    expect_refused(request("GET", sif_asks.file_url(site.private)))


def test_nothing_of_what_it_is_made_of_is_anybody_elses(site: Site, ann: User, bob: User) -> None:
    """All blobs that ann's SIF adds to the store: segments, their indexes, head and tail."""
    site.registry.push("secret/other", "1", images.busybox(images.layer({"secret": b"other " + SECRET})))
    private = sif_asks.cached(site.node, site.registry, "secret/other:1")
    assert bob.get(sif_asks.file_url(site.public)).status == 200
    before = blobs(site.node)
    assert ann.get(sif_asks.file_url(private)).status == 200
    added = blobs(site.node) - before
    assert len(added) >= LEAST_ADDED
    for digest in sorted(added):
        for name in (private, site.public):
            expect_refused(bob.get(v2(name, "blobs", digest)))


def blobs(node: Daemon) -> set[str]:
    """Return the digests of all that a node has stored."""
    node.settle()
    return {f"sha256:{path.name}" for path in (node.state / "blobs" / "sha256").rglob("*") if path.is_file()}
