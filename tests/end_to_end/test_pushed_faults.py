"""Pushes that are cut off, refused or raced: what is said, and that no half image is ever there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import images, versions
from lab.certificates import Authority
from lab.conda_asks import done, status
from lab.daemon import Daemon
from lab.disks import mounted
from lab.http import request
from lab.processes import run
from lab.push_site import PushSite, crane, document, granted, refused
from lab.registry import Registry
from lab.relay import Relay

pytestmark = pytest.mark.registry

LABEL = "wave.build.repository (buildRepository): "
STALLED_SECONDS = 20.0


def test_a_registry_that_is_stopped(push_site: PushSite, start_registry: Callable[..., Registry]) -> None:
    other = start_registry()
    fields = {"containerImage": push_site.base, "freeze": True, "buildRepository": f"{other.host}/team/x"}
    other.stop()
    said = refused(push_site.node, **fields)
    assert said.startswith(LABEL) and "connection refused" in said
    late = versions.post(push_site.node, "23.10", **fields)
    assert late.status == 424 and "connection refused" in late.json()["message"]
    other.start()
    granted(push_site.node, **fields, config={"env": ["ASKED=again"]})


@pytest.mark.crane
def test_a_registry_that_is_full(push_site: PushSite, start_registry: Callable[..., Registry], tmp_path: Path) -> None:
    base = push_site.target.push("bases/large", "1", images.busybox(images.random_layer(4, 7)))
    with mounted(tmp_path / "registry", "3m"):
        other = start_registry()
        try:
            fields = {"containerImage": base, "freeze": True, "buildRepository": f"{other.host}/team/x"}
            said = refused(push_site.node, **fields)
            assert said.startswith(f"{LABEL}{other.host}/team/x: ")
            assert len(said.splitlines()) == 1
            assert not (request("GET", f"{other.url}/v2/team/x/tags/list").json().get("tags") or [])
            run(["mount", "-o", "remount,size=30m", tmp_path / "registry"])
            answer = granted(push_site.node, **fields, config={"env": ["ASKED=again"]})
            crane("validate", "--remote", answer["targetImage"])
        finally:
            other.stop()


@pytest.mark.crane
def test_a_node_that_dies_in_the_middle(
    push_site: PushSite,
    start_registry: Callable[..., Registry],
    start_daemon: Callable[..., Daemon],
) -> None:
    large = [images.random_layer(3, seed) for seed in (1, 2, 3)]
    base = push_site.target.push("bases/large", "2", images.busybox(*large))
    other = start_registry()
    node = start_daemon(settings=push_site.settings)
    with Relay(other.port, 4_000_000) as relay:
        fields = {"containerImage": base, "freeze": True, "buildRepository": f"{relay.host}/team/x"}
        answer = versions.ask(node, "25.10", **fields)
        tag = answer["targetImage"].rpartition(":")[2]
        assert relay.stalled.wait(STALLED_SECONDS)
        assert "succeeded" not in answer and answer["cached"] is False
        assert status(node, answer["requestId"])["status"] == "BUILDING"
        build = f"/v1alpha1/builds/{answer['buildId']}/status"
        assert node.get(build).json()["status"] == "PENDING", "24.04 asks this"
        node.kill()
        relay.go_on()
        assert document(other, "team/x", tag).status == 404
        node.start()
        assert granted(node, **fields)["targetImage"] == answer["targetImage"]
        assert node.get(build).json()["status"] == "COMPLETED"
    crane("validate", "--remote", f"{other.host}/team/x:{tag}")


@pytest.mark.crane
def test_a_registry_that_restarts_in_the_middle(push_site: PushSite, start_registry: Callable[..., Registry]) -> None:
    base = push_site.target.push("bases/large", "3", images.busybox(*(images.random_layer(2, seed) for seed in (4, 5))))
    other = start_registry()
    with Relay(other.port, 3_000_000) as relay:
        fields = {"containerImage": base, "freeze": True, "buildRepository": f"{relay.host}/team/x"}
        answer = versions.ask(push_site.node, "25.10", **fields)
        assert relay.stalled.wait(STALLED_SECONDS)
        other.stop()
        other.start()
        relay.go_on()
        state = done(push_site.node, answer["requestId"])
    assert state["succeeded"] is True, state
    crane("validate", "--remote", f"{other.host}/{answer['targetImage'].partition('/')[2]}")


@pytest.mark.crane
def test_two_nodes_push_the_same_at_one_moment(push_site: PushSite, start_daemon: Callable[..., Daemon]) -> None:
    other = start_daemon(settings=push_site.settings, WAVELET_RECORDS_DIRECTORY=push_site.records)
    base = push_site.target.push("bases/both", "1", images.busybox(images.random_layer(2, 11)))
    fields = {"containerImage": base, "config": {"env": ["A=b"]}, "freeze": True}
    fields |= {"buildRepository": f"{push_site.target.host}/team/both"}
    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(lambda node: granted(node, **fields), (push_site.node, other))]
    assert answers[0]["targetImage"] == answers[1]["targetImage"]
    crane("validate", "--remote", answers[0]["targetImage"])


@pytest.mark.crane
def test_a_registry_with_its_own_authority(
    push_site: PushSite,
    start_registry: Callable[..., Registry],
    start_daemon: Callable[..., Daemon],
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path, "authority")
    other = start_registry(tls=authority.issue("registry"))
    fields = {"containerImage": push_site.base, "freeze": True, "buildRepository": f"{other.host}/team/x"}
    said = refused(push_site.node, **fields)
    assert said.startswith(LABEL) and "ca_file" in said
    registries = {"registries": {other.host: {"ca_file": str(authority.certificate)}}}
    upstream = push_site.settings["upstream"] | registries
    node = start_daemon(settings=push_site.settings | {"upstream": upstream})
    name = granted(node, **fields)["targetImage"]
    assert crane("digest", name, SSL_CERT_FILE=str(authority.certificate)).startswith("sha256:")
