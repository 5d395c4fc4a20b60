"""Frozen images in a registry: pushed by a real daemon to a real registry, and run from there."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from lab import images, versions
from lab.engines import Docker, Podman, skopeo
from lab.http import request
from lab.push_site import SAMTOOLS, PushSite, crane, document, requests_of
from lab.registry import PASSWORDS
from lab.relay import Relay

pytestmark = pytest.mark.registry

STALLED_SECONDS = 20.0
LONGER_THAN_OTHERS_WAIT = 2.5
"""Seconds; an answer that is not waited for comes after two."""

with_two_engines = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("docker", "podman")], indirect=True
)


@pytest.mark.crane
@with_two_engines
def test_packages_are_there_with_bill_and_lock_and_run(push_site: PushSite, engine: Docker | Podman) -> None:
    answer = push_site.freeze(entries=[SAMTOOLS], buildRepository=f"{push_site.target.host}/team/frozen")
    name = answer["targetImage"]
    assert name == f"{push_site.target.host}/team/frozen:samtools-1.17--{answer['requestId']}"
    assert (answer["containerImage"], answer["freeze"]) == (name, True)
    assert not {"containerToken", "expiration"} & set(answer)
    build = push_site.node.get(f"/v1alpha1/builds/{answer['buildId']}").json()
    assert crane("digest", name) == build["digest"]
    crane("validate", "--remote", name)
    listed = document(push_site.target, "team/frozen", build["digest"].replace(":", "-")).json()
    bill, lock = "application/vnd.cyclonedx+json", "application/vnd.wavelet.conda.explicit.v1"
    assert {each["artifactType"] for each in listed["manifests"]} == {bill, lock}
    engine.pull(name)
    assert engine.run(name, "samtools") == "samtools 1.17\n"


def test_asked_again_one_question_is_asked(push_site: PushSite) -> None:
    fields = {"entries": [SAMTOOLS], "buildRepository": f"{push_site.target.host}/team/again"}
    name = push_site.freeze(**fields)["targetImage"]
    before = requests_of(push_site.target)
    again = push_site.freeze(**fields)
    assert (again["targetImage"], again["cached"], again["succeeded"]) == (name, True, True)
    assert requests_of(push_site.target) == before | {"HEAD": before["HEAD"] + 1}
    log = push_site.node.get(f"/v1alpha1/builds/{again['buildId']}/logs").body.decode()
    assert "blobs sent" in log, "what it took to have it there stays in its log"


@pytest.mark.crane
def test_what_was_removed_from_the_registry_is_pushed_again(push_site: PushSite) -> None:
    fields = {"entries": [SAMTOOLS], "buildRepository": f"{push_site.target.host}/team/removed"}
    name = push_site.freeze(**fields)["targetImage"]
    digest = crane("digest", name)
    request("DELETE", f"{push_site.target.url}/v2/team/removed/manifests/{digest}")
    assert push_site.freeze(**fields)["targetImage"] == name
    assert crane("digest", name) == digest


@pytest.mark.crane
@pytest.mark.parametrize("version", ["23.10", "25.10"])
def test_who_does_not_ask_for_the_status_waits_in_the_post(push_site: PushSite, version: str) -> None:
    """23.10 pulls at once, and so does Apptainer (`format: sif`) with every version."""
    base = push_site.target.push("bases/waits", version, images.busybox(images.random_layer(0.5, int(version[:2]))))
    fields = {"containerImage": base, "config": {"env": [f"V={version}"]}, "freeze": True, "format": "sif"}
    with Relay(push_site.target.port, 300_000) as relay, ThreadPoolExecutor(1) as pool:
        fields["buildRepository"] = f"{relay.host}/team/waits"
        asked = pool.submit(versions.ask, push_site.node, version, **fields)
        assert relay.stalled.wait(STALLED_SECONDS)
        assert wait([asked], LONGER_THAN_OTHERS_WAIT).not_done
        relay.go_on()
        answer = asked.result(STALLED_SECONDS)
    assert answer["containerImage"] == answer["targetImage"]
    path = answer["targetImage"].removeprefix("oras://").partition("/")[2]
    crane("validate", "--remote", f"{push_site.target.host}/{path}")
    assert ("buildId" in answer) == (version != "23.10")


@pytest.mark.crane
def test_an_index_of_two_platforms(push_site: PushSite) -> None:
    repository = f"{push_site.target.host}/team/index"
    answer = push_site.freeze(
        containerImage=push_site.base,
        config={"env": ["A=b"]},
        nameStrategy="imageSuffix",
        containerPlatform="linux/amd64,linux/arm64",
        buildRepository=repository,
    )
    assert answer["targetImage"] == f"{repository}/bases/two:1.0--{answer['requestId']}"
    for architecture in ("amd64", "arm64"):
        shown = json.loads(crane("config", "--platform", f"linux/{architecture}", answer["targetImage"]))
        assert (shown["architecture"], "A=b" in shown["config"]["Env"]) == (architecture, True)


@pytest.mark.crane
def test_an_image_with_nothing_to_add_keeps_its_digest_and_is_mounted(push_site: PushSite) -> None:
    made = images.busybox(images.layer({"f": b"unchanged"}))
    source = push_site.target.push("bases/unchanged", "1", made)
    repository = f"{push_site.target.host}/team/unchanged"
    assert crane("digest", push_site.freeze(containerImage=source, buildRepository=repository)["targetImage"]) == (
        made.digest
    )
    assert push_site.target.count("team/unchanged/blobs/uploads/", "PATCH") == 0


@pytest.mark.skopeo
def test_the_sites_repository_with_the_sites_login(push_site: PushSite) -> None:
    answer = push_site.freeze(entries=[SAMTOOLS])
    name = f"{push_site.locked.host}/site/frozen:samtools-1.17--{answer['requestId']}"
    assert answer["targetImage"] == name
    shown = skopeo("inspect", "--tls-verify=false", "--no-tags", f"docker://{name}", login=("bob", PASSWORDS["bob"]))
    build = push_site.node.get(f"/v1alpha1/builds/{answer['buildId']}").json()
    assert shown["Digest"] == build["digest"]


def test_what_many_share_is_sent_once(push_site: PushSite) -> None:
    repository = f"{push_site.target.host}/team/many"

    def ask(number: int) -> str:
        changes = {"env": [f"NUMBER={number}"]}
        return str(push_site.freeze(entries=[SAMTOOLS], config=changes, buildRepository=repository)["targetImage"])

    with ThreadPoolExecutor(8) as pool:
        names = [*pool.map(ask, range(8))]
    assert len(set(names)) == 8
    log = (push_site.target.directory / "registry.log").read_text("utf-8", "replace")
    sent = re.findall(r'"PUT /v2/team/many/blobs/uploads/[^" ]*digest=([^&" ]*)', log)
    assert len(sent) == len(set(sent)) >= 8, "their configurations; layers may be mounted"


def test_nothing_is_pushed_in_a_dry_run(push_site: PushSite) -> None:
    repository = f"{push_site.target.host}/team/dry"
    fields = {"entries": [SAMTOOLS], "buildRepository": repository}
    dry = versions.ask(push_site.node, "25.10", freeze=True, dryRun=True, **fields)
    assert dry["succeeded"] is True
    assert document(push_site.target, "team/dry", dry["targetImage"].rpartition(":")[2]).status == 404
    assert push_site.freeze(**fields)["targetImage"] == dry["targetImage"]


INVALID = (
    "{host}/Team/x",
    "{host}/x:tag",
    "{host}/x@sha256:" + "0" * 64,
    "https://{host}/x",
    "{host}",
    "{host}/",
    "{host}/a//b",
    " ",
    "a b/c",
    "{node}/x",
)


@pytest.mark.parametrize("repository", INVALID)
def test_names_that_are_not_valid(push_site: PushSite, repository: str) -> None:
    text = repository.format(host=push_site.target.host, node=push_site.node.authority)
    for version in ("23.10", "25.10"):
        fields = {"containerImage": push_site.base, "buildRepository": text, "freeze": True}
        answer = versions.post(push_site.node, version, **fields)
        assert answer.status == 400
        assert answer.json()["message"].startswith("wave.build.repository (buildRepository): ")
