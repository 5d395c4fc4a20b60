"""Mirrored images: what `wave.mirror` asks for, copied by a real daemon between real registries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import images, versions
from lab.conda_asks import status
from lab.daemon import Daemon
from lab.engines import Docker
from lab.push_site import PushSite, crane, document, granted, post_as, pushed, refused, requests_of
from lab.registry import PASSWORDS, Registry
from lab.relay import Relay
from lab.release import BILL, COSIGN, cosign_tag, fallback_tag, push_release
from lab.users import User

pytestmark = pytest.mark.registry

MIRRORING = [version for version in versions.VERSIONS if version >= "24.10"]
"""`wave.mirror` came with 24.10."""

LABEL = "wave.build.repository (buildRepository): "
STALLED_SECONDS = 20.0


@pytest.mark.crane
@pytest.mark.parametrize("version", MIRRORING)
def test_all_of_a_release_is_copied_as_it_is(push_site: PushSite, registry: Registry, version: str) -> None:
    release, path = push_release(registry, f"mirrored/{version}"), f"mirrored/{version}"
    fields = {"containerImage": f"{registry.host}/{path}:1", "buildRepository": f"{push_site.target.host}/copies"}
    answer = versions.ask(push_site.node, version, mirror=True, **fields)
    name, token = f"{push_site.target.host}/copies/{path}:1", answer["requestId"]
    assert (answer["targetImage"], answer["containerImage"], answer["mirror"]) == (name, name, True)
    assert (answer["buildId"], answer["freeze"]) == (f"mr-{token}_0", False)
    assert not {"containerToken", "expiration"} & set(answer)
    pushed(push_site.node, versions.post(push_site.node, version, mirror=True, **fields))
    assert crane("digest", name) == release.digest
    crane("validate", "--remote", name)
    for tag in ("1", *(cosign_tag(release, kind) for kind in COSIGN)):
        copied = document(push_site.target, f"copies/{path}", tag)
        assert (copied.status, copied.body) == (200, document(registry, path, tag).body)
    listed = document(push_site.target, f"copies/{path}", fallback_tag(release.members[0])).json()["manifests"]
    assert [each["artifactType"] for each in listed] == [BILL]
    crane("manifest", f"{push_site.target.host}/copies/{path}@{listed[0]['digest']}")


def test_what_is_told_of_a_copy(push_site: PushSite, registry: Registry) -> None:
    source = registry.push("mirrored/told", "1", images.busybox(images.layer({"f": b"told"})))
    fields = {"containerImage": source, "buildRepository": f"{push_site.target.host}/copies", "mirror": True}
    answer = granted(push_site.node, **fields)
    state = status(push_site.node, answer["requestId"])
    assert (state["mirrorId"], state["status"], state["succeeded"]) == (answer["buildId"], "DONE", True)
    assert state["creationTime"].endswith("Z")
    path = f"/v1alpha1/mirrors/{answer['buildId']}"
    record = push_site.node.get(path).json()
    shown = [record[name] for name in ("sourceImage", "targetImage", "status", "exitCode", "digest")]
    digest = document(registry, "mirrored/told", "1").headers["docker-content-digest"]
    assert shown == [source, answer["targetImage"], "COMPLETED", 0, digest]
    log = push_site.node.get(f"{path}/logs")
    assert log.status == 200 and digest in log.body.decode()
    assert push_site.node.get(f"/view/mirrors/{answer['buildId']}").status == 200
    before = requests_of(push_site.target)
    again = granted(push_site.node, **fields)
    assert (again["targetImage"], again["cached"]) == (answer["targetImage"], True)
    assert requests_of(push_site.target) == before | {"HEAD": before["HEAD"] + 1}


def test_a_tag_that_moves_there_and_back_is_mirrored_each_time(
    push_site: PushSite, registry: Registry, start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    node = start_daemon(tmp_path / "state", settings={"upstream": {"tag_ttl": 0}})
    path = "mirrored/there-and-back"
    for text in (b"there", b"away", b"there"):
        made = images.busybox(images.layer({"f": text}))
        source = registry.push(path, "1", made)
        granted(node, containerImage=source, mirror=True, buildRepository=f"{push_site.target.host}/copies")
        assert document(push_site.target, f"copies/{path}", "1").headers["docker-content-digest"] == made.digest


@pytest.mark.docker
def test_an_image_by_digest_is_copied_and_runs(push_site: PushSite, registry: Registry, docker: Docker) -> None:
    made = images.busybox(images.layer({"f": b"by digest\n"}))
    registry.push("mirrored/digest", "1", made)
    fields = {"containerImage": f"{registry.host}/mirrored/digest@{made.digest}", "mirror": True}
    name = granted(push_site.node, buildRepository=push_site.target.host, **fields)["targetImage"]
    assert name == f"{push_site.target.host}/mirrored/digest@{made.digest}"
    docker.pull(name)
    assert docker.run(name, "cat", "/f") == "by digest\n"


@pytest.mark.crane
def test_the_source_changes_and_the_node_dies_while_it_is_copied(
    push_site: PushSite,
    registry: Registry,
    start_registry: Callable[..., Registry],
    start_daemon: Callable[..., Daemon],
) -> None:
    first = images.busybox(*(images.random_layer(2, seed) for seed in (21, 22)))
    source = registry.push("mirrored/moves", "1", first)
    target = start_registry()
    node = start_daemon(settings=push_site.settings)
    with Relay(target.port, 3_000_000) as relay:
        fields = {"containerImage": source, "buildRepository": relay.host, "mirror": True}
        answer = versions.ask(node, "25.10", **fields)
        assert relay.stalled.wait(STALLED_SECONDS)
        assert "succeeded" not in answer and answer["cached"] is False
        registry.push("mirrored/moves", "1", images.busybox(images.layer({"f": b"second"})))
        node.kill()
        assert document(target, "mirrored/moves", "1").status == 404
        relay.go_on()
        node.start()
        state = status(node, answer["requestId"])
        while state["status"] != "DONE":
            state = status(node, answer["requestId"])
        assert state["succeeded"] is True, state
        name = f"{target.host}/mirrored/moves:1"
        assert crane("digest", name) == first.digest
        crane("validate", "--remote", name)


def test_a_target_that_does_not_take_it(push_site: PushSite, start_registry: Callable[..., Registry]) -> None:
    gone = start_registry()
    gone.stop()
    fields = {"containerImage": push_site.base, "mirror": True}
    said = refused(push_site.node, buildRepository=f"{gone.host}/copies", **fields)
    assert said.startswith(f"{LABEL}{gone.host}/copies/bases/two: ") and "connection refused" in said
    said = refused(push_site.node, buildRepository=f"{push_site.locked.host}/copies", **fields)
    for part in (LABEL, "asked as: anonymous", f"right to push to {push_site.locked.host}/copies/bases/two"):
        assert part in said


@pytest.mark.users
def test_it_is_copied_with_the_logins_of_who_asks(
    push_site: PushSite, start_registry: Callable[..., Registry], ann: User, bob: User
) -> None:
    private, node = start_registry(accounts=("ann",)), push_site.node
    made = images.busybox(images.layer({"secret": b"of ann"}))
    source = private.push("secret/tool", "1", made)
    fields = {"containerImage": source, "buildRepository": f"{push_site.locked.host}/copies", "mirror": True}
    ann.log_in(private.host, "ann", PASSWORDS["ann"])
    ann.log_in(push_site.locked.host, "ann", PASSWORDS["ann"], also=True)
    bob.log_in(push_site.locked.host, "bob", PASSWORDS["bob"])
    assert post_as(bob, node, **fields).status in (401, 403, 404)
    answer = post_as(ann, node, **fields)
    assert answer.status == 200, answer.body
    path = f"{node.url}/v1alpha2/container/{answer.json()['requestId']}/status"
    while (state := ann.get(path).json())["status"] != "DONE":
        pass
    assert state["succeeded"] is True, state
    assert ann.get(f"{node.url}/v1alpha1/mirrors/{answer.json()['buildId']}").json()["digest"] == made.digest
    assert bob.get(path).status in (401, 403, 404)


INVALID = ("{source}/copies", "{target}/x:1", "", "https://{target}", "{target}/A", "{node}")


@pytest.mark.parametrize("repository", INVALID)
def test_targets_that_are_none(push_site: PushSite, registry: Registry, repository: str) -> None:
    text = repository.format(source=registry.host, target=push_site.target.host, node=push_site.node.authority)
    fields = {"containerImage": f"{registry.host}/lab/busybox:1", "mirror": True}
    answer = versions.post(push_site.node, "25.10", buildRepository=text or None, **fields)
    assert (answer.status, answer.json()["message"].startswith(LABEL)) == (400, True)


@pytest.mark.parametrize(
    "members", [{"freeze": True}, {"config": {"env": ["A=b"]}}, {"containerImage": None, "entries": ["bwa"]}]
)
def test_a_mirror_is_an_unchanged_image(push_site: PushSite, members: dict[str, Any]) -> None:
    fields = {"containerImage": push_site.base, "buildRepository": "127.0.0.1:1/x", "mirror": True} | members
    answer = versions.post(push_site.node, "25.10", **fields)
    assert answer.status == 400 and "a mirror is an unchanged copy" in answer.json()["message"]
