"""Rules of a site as files, on a daemon: what requests, names and digests become by them, and a file that is broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lab import images, nextflow
from lab.conda_asks import ACCEPT, config, manifest
from lab.daemon import Daemon
from lab.engines import Engine
from lab.http import Answer, get, request
from lab.processes import wait_for
from lab.registry import Registry
from wavelet.client import Client, WaveletRpcError
from wavelet.v1.containers_pb2 import ResolveRequest

pytestmark = pytest.mark.registry

OTHERS = ("posted/tool", "amd64/tool", "known/tool", "late/tool")

SOON = 15.0
"""Seconds within which a changed file is in force."""


@dataclass
class Site:
    """A daemon with rules, and what it is asked for."""

    node: Daemon
    registry: Registry
    rules: Path

    def image(self, path: str) -> str:
        """Return the name of an image of the registry."""
        return f"{self.registry.host}/{path}"

    def near(self, path: str) -> str:
        """Return the near-cache's path of an image of the registry: repository, and tag or digest."""
        return f"/v2/{self.registry.host.replace(':', '_')}/{path}"

    def theirs(self, path: str) -> Answer:
        """Return what the registry itself answers."""
        return get(f"http://{self.registry.host}{path}", Accept=ACCEPT)

    def client(self) -> Client:
        """Return a client of the socket for users."""
        return Client(f"unix:{self.node.state}/wavelet.sock")


def inspected(site: Site, image: str) -> Answer:
    body = json.dumps({"containerImage": image}).encode()
    return request("POST", f"{site.node.url}/v1alpha1/inspect", headers={"Content-Type": "application/json"}, body=body)


def rules_for(host: str) -> list[dict[str, object]]:
    return [
        {"name": "mirror", "when": {"image": f"{host}/public/**"}, "do": {"redirect": f"{host}/mirror"}},
        {"name": "banned", "when": {"image": f"{host}/banned/**"}, "do": {"refuse": "Use the mirror."}},
        {
            "name": "variable",
            "when": {"image": f"{host}/mirror/**"},
            "do": {"env": {"SITE": "here"}, "labels": {"site": "x"}},
        },
        {"name": "changed", "when": {"image": f"{host}/changed/**"}, "do": {"env": {"OWN": "1"}}, "names": "changed"},
        {"name": "each", "when": {"image": f"{host}/each/**"}, "do": {"env": {"EACH": "1"}}, "to": "each"},
        {"name": "pinned", "when": {"image": f"{host}/pinned/**"}, "do": {"require": {"digest": True}}},
        {"name": "hub", "when": {"image": "docker.io/**"}, "do": {"refuse": "Not from Docker Hub."}},
        {"name": "pushed", "when": {"image": "local/**", "not": "local/good:1"}, "do": {"refuse": "Only good:1."}},
        {"name": "posted", "when": {"image": f"{host}/posted/**", "door": "wave"}, "do": {"refuse": "Not by Wave."}},
        {"name": "amd64", "when": {"image": f"{host}/amd64/**"}, "do": {"require": {"platform": "linux/amd64"}}},
        {"name": "known", "when": {"image": f"{host}/known/**"}, "do": {"require": {"digest": images.sha256(b"")}}},
        {"name": "labelled", "when": {"labels": {"team": "gen*"}, "door": "grpc"}, "do": {"refuse": "Not for you."}},
    ]


@pytest.fixture(scope="module")
def site(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("rules")
    directory = root / "rules.d"
    directory.mkdir()
    (directory / "10-site.yaml").write_text(yaml.safe_dump(rules_for(registry.host)))
    for repository in ("mirror/tool", "banned/tool", "changed/tool", "pinned/tool", "each/tool", *OTHERS):
        registry.push(repository, "1", images.busybox(images.layer({"of": repository.encode()})))
    second = {"first": "banned", "moved": "public"}
    aliases = [
        {"prefix": f"{registry.host}/{path}", "instead": f"{registry.host}/{instead}"}
        for path, instead in second.items()
    ]
    settings = {"rules": {"directory": str(directory)}, "upstream": {"aliases": aliases}, "hosted": {"pushes": "on"}}
    node = Daemon(root / "node", settings=settings)
    try:
        yield Site(node.start(), registry, directory)
    finally:
        node.stop()


def test_a_request_gets_the_image_from_elsewhere_and_what_the_site_adds(site: Site, engine: Engine) -> None:
    answer = nextflow.ask(site.node, containerImage=site.image("public/tool:1"))
    target = answer["targetImage"]
    engine.pull(target)
    assert engine.run(target, "/bin/sh", "-c", "echo $SITE; cat /of") == "here\nmirror/tool"
    with site.client() as client:
        described = client.describe(answer["requestId"])
    assert list(described.rules) == ["mirror", "variable"]
    page = site.node.get(f"/view/containers/{answer['requestId']}").body.decode()
    assert "mirror, variable" in page
    of_mirror = nextflow.ask(site.node, containerImage=site.image("mirror/tool:1"))
    assert of_mirror["targetImage"] == target, "what is pinned and made is the same, and so is its name"


def test_the_image_says_which_rules_have_changed_it(site: Site) -> None:
    answer = nextflow.ask(site.node, containerImage=site.image("mirror/tool:1"))
    document = manifest(site.node, answer["targetImage"])
    assert config(site.node, answer["targetImage"])["config"]["Labels"]["site"] == "x"
    assert document.get("annotations", {}).get("wavelet.rules") in ("variable", None)  # Docker's have none
    assert nextflow.ask(site.node, containerImage=site.image("mirror/tool:1"))["targetImage"] == answer["targetImage"]


def test_what_is_refused(site: Site) -> None:
    banned = site.image("banned/tool:1")
    own = banned.replace(":", "_", 1)
    for answer in (
        nextflow.post(site.node, containerImage=banned),
        nextflow.post(site.node, containerImage=f"{site.node.authority}/{own}"),
        site.node.get(site.near("banned/tool/manifests/1"), Accept=ACCEPT),
        site.node.get(site.near(f"banned/tool/manifests/{images.sha256(b'')}"), Accept=ACCEPT),
        site.node.get(site.near(f"banned/tool/blobs/{images.sha256(b'')}")),
        site.node.get(site.near("banned/tool/tags/list")),
        site.node.get(f"/sif/{own}.sif"),
    ):
        assert answer.status == 403
        assert "Use the mirror. (" in answer.body.decode()
        assert "is refused by the site's rule banned)" in answer.body.decode()


def test_a_name_of_the_near_cache_is_redirected_and_not_changed(site: Site) -> None:
    seen = site.node.get(site.near("public/tool/manifests/1"), Accept=ACCEPT)
    assert seen.status == 200
    theirs = site.theirs("/v2/mirror/tool/manifests/1")
    assert seen.body == theirs.body
    for part in [seen.json()["config"], *seen.json()["layers"]]:
        assert site.node.get(site.near(f"public/tool/blobs/{part['digest']}")).status == 200
    digest = images.sha256(seen.body)
    assert site.node.get(site.near(f"public/tool/manifests/{digest}"), Accept=ACCEPT).body == seen.body
    assert site.node.get(site.near("public/tool/tags/list")).json()["tags"] == ["1"]


def test_a_name_of_the_near_cache_is_changed_where_the_site_says_so(site: Site) -> None:
    seen = site.node.get(site.near("changed/tool/manifests/1"), Accept=ACCEPT)
    document = site.node.get(site.near(f"changed/tool/blobs/{seen.json()['config']['digest']}")).json()
    assert "OWN=1" in document["config"]["Env"]
    for part in seen.json()["layers"]:
        assert site.node.get(site.near(f"changed/tool/blobs/{part['digest']}")).status == 200


def test_what_is_asked_for_by_digest_is_not_changed(site: Site) -> None:
    theirs = site.theirs("/v2/changed/tool/manifests/1")
    digest = images.sha256(theirs.body)
    assert site.node.get(site.near(f"changed/tool/manifests/{digest}"), Accept=ACCEPT).body == theirs.body
    answer = nextflow.ask(site.node, containerImage=site.image(f"changed/tool@{digest}"))
    pulled = site.node.get(nextflow.manifest_path(answer["targetImage"]), Accept=ACCEPT)
    assert pulled.body == theirs.body


def test_a_digest_can_be_required(site: Site) -> None:
    refused = nextflow.post(site.node, containerImage=site.image("pinned/tool:1"))
    assert refused.status == 403
    assert refused.json()["message"].startswith("Ask for it by digest")
    assert site.node.get(site.near("pinned/tool/manifests/1"), Accept=ACCEPT).status == 403
    digest = images.sha256(site.theirs("/v2/pinned/tool/manifests/1").body)
    nextflow.ask(site.node, containerImage=site.image(f"pinned/tool@{digest}"))
    assert site.node.get(site.near(f"pinned/tool/manifests/{digest}"), Accept=ACCEPT).status == 200


def test_a_request_carries_labels(site: Site) -> None:
    image = site.image("changed/tool:1")
    with site.client() as client:
        client.resolve(container_image=image, labels={"team": "physics"})
        with pytest.raises(WaveletRpcError, match=r"Not for you\.") as caught:
            client.resolve(container_image=image, labels={"team": "genomics"})
        assert caught.value.reason == "RULE_REFUSED"


def test_what_would_be_made_of_a_request_is_explained(site: Site) -> None:
    with site.client() as client:
        told = client.explain_rules(ResolveRequest(container_image=site.image("public/tool:1")))
        assert [(each.rule, each.effect) for each in told.effects] == [
            ("mirror", f"taken from {site.image('mirror/tool:1')}"),
            ("variable", "added: environment SITE; labels site"),
        ]
        assert ("SITE=here" in told.effective_plan, told.refusal, told.advice) == (True, "", "")
        told = client.explain_rules(ResolveRequest(name=site.image("banned/tool:1")))
        assert told.refusal.startswith("Use the mirror.")
        assert "advice" in told.advice
        listed = client.list_rules()
    assert [each.name for each in listed.rules] == [rule["name"] for rule in rules_for(site.registry.host)]


def test_inspection_sees_what_is_pulled(site: Site) -> None:
    answer = inspected(site, site.image("public/tool:1"))
    assert answer.status == 200
    assert inspected(site, site.image("banned/tool:1")).status == 403


def test_a_broken_file_leaves_the_rules_as_they_were(site: Site, start_daemon: Callable[..., Daemon]) -> None:
    banned, free = site.image("banned/tool:1"), site.image("free/tool:1")
    site.registry.push("free/tool", "1", images.busybox())
    broken = site.rules / "20-broken.yaml"
    broken.write_text("- do: {refuze: no}\n")

    def problems() -> list[str]:
        with site.client() as client:
            return list(client.list_rules().problems)

    wait_for(lambda: bool(problems()), "a problem of the rules", SOON)
    assert "20-broken.yaml" in problems()[0]
    assert "refuze" in problems()[0]
    assert nextflow.post(site.node, containerImage=banned).status == 403
    nextflow.ask(site.node, containerImage=free)
    late = start_daemon(settings={"rules": {"directory": str(site.rules)}})
    answer = nextflow.post(late, containerImage=free)
    assert answer.status == 503
    assert "20-broken.yaml" in answer.json()["message"]
    broken.write_text(
        yaml.safe_dump([{"when": {"image": f"{site.registry.host}/free/**"}, "do": {"refuse": "No more."}}])
    )
    for node in (site.node, late):
        wait_for(lambda: nextflow.post(node, containerImage=free).status == 403, "the rule in force", SOON)  # noqa: B023
    broken.unlink()
    wait_for(lambda: nextflow.post(site.node, containerImage=free).status == 200, "the rule gone", SOON)


def test_a_name_that_leads_here_again_is_the_image_that_is_meant(site: Site) -> None:
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        port = site.node.authority.rpartition(":")[2]
        own = f"{site.node.authority}/{host.lower()}_{port}/{site.image('posted/tool:1').replace(':', '_', 1)}"
        assert nextflow.post(site.node, containerImage=own.replace("127.0.0.1", host, 1)).status == 403
    assert inspected(site, f"{site.node.authority}/{site.image('banned/tool:1').replace(':', '_', 1)}").status == 403


def test_the_platform_behind_the_tag_of_a_sif_is_what_is_asked_for(site: Site) -> None:
    own = site.image("amd64/tool:1").replace(":", "_", 1)
    assert site.node.get(f"/sif/{own}--linux-arm64.sif").status == 403
    path = own.rpartition(":")[0]
    assert site.node.get(f"/v2/sif/{path}/manifests/1--linux-arm64", Accept=ACCEPT).status == 403


def test_what_admits_is_asked_by_each_way_to_an_image(site: Site) -> None:
    known = site.image("known/tool:1")
    assert site.node.get(site.near("known/tool/manifests/1"), Accept=ACCEPT).status == 403
    theirs = site.theirs("/v2/known/tool/manifests/1").json()
    assert site.node.get(site.near(f"known/tool/blobs/{theirs['config']['digest']}")).status == 403
    assert inspected(site, known).status == 403
    with site.client() as client:
        with pytest.raises(WaveletRpcError, match="none of those that the site allows"):
            client.inspect(known)
        *_, last = client.prefetch([known])
        assert "none of those that the site allows" in last.error.message


def test_a_second_place_is_one_that_rules_are_for(site: Site) -> None:
    answer = nextflow.post(site.node, containerImage=site.image("first/tool:1"))
    assert answer.status in (400, 404)
    assert "Use the mirror." in answer.body.decode()
    seen = site.node.get(site.near("moved/tool/manifests/1"), Accept=ACCEPT)
    assert seen.body == site.theirs("/v2/mirror/tool/manifests/1").body


def test_what_a_name_has_answered_before_is_given_by_the_rules_of_now(site: Site) -> None:
    manifest = site.near("late/tool/manifests/")
    seen = site.node.get(f"{manifest}1", Accept=ACCEPT)
    parts = (f"{manifest}{images.sha256(seen.body)}", site.near(f"late/tool/blobs/{seen.json()['config']['digest']}"))
    sif = f"/v2/sif/{site.image('late/tool').replace(':', '_', 1)}"
    of_sif = site.node.get(f"{sif}/manifests/1", Accept=ACCEPT)
    parts = (*parts, f"{sif}/blobs/{of_sif.json()['layers'][0]['digest']}")
    assert [site.node.head(path).status for path in parts] == [200] * 3
    file = site.rules / "30-late.yaml"

    def put(rule: dict[str, object]) -> None:
        file.write_text(yaml.safe_dump([rule]))

    free = {"image": f"{site.registry.host}/late/**"}
    put({"when": free, "do": {"refuse": "Too late."}})
    wait_for(lambda: site.node.get(f"{manifest}1", Accept=ACCEPT).status == 403, "the rule in force", SOON)
    assert [site.node.get(path, Accept=ACCEPT).status for path in parts] == [403] * 3
    put({"when": free | {"not": f"{site.registry.host}/late/tool:1"}, "do": {"refuse": "Only 1."}})
    wait_for(lambda: site.node.get(f"{manifest}1", Accept=ACCEPT).status == 200, "the other rule in force", SOON)
    assert [site.node.get(path, Accept=ACCEPT).status for path in parts] == [200] * 3
    file.unlink()
    wait_for(lambda: site.node.get(f"{manifest}2", Accept=ACCEPT).status == 404, "the rule gone", SOON)


def test_what_was_pushed_to_the_node_is_given_as_it_is_or_refused(site: Site) -> None:
    for tag in ("1", "2"):
        images.push(site.node.url, "local/good", tag, images.busybox(images.layer({"of": tag.encode()})))
    seen = site.node.get("/v2/local/good/manifests/1", Accept=ACCEPT)
    assert seen.status == 200
    assert site.node.get(f"/v2/local/good/manifests/{images.sha256(seen.body)}", Accept=ACCEPT).body == seen.body
    nextflow.ask(site.node, containerImage=f"{site.node.authority}/local/good:1")
    for answer in (
        site.node.get("/v2/local/good/manifests/2", Accept=ACCEPT),
        site.node.get("/v2/local/bad/manifests/1", Accept=ACCEPT),
        nextflow.post(site.node, containerImage=f"{site.node.authority}/local/good:2"),
    ):
        assert answer.status == 403
        assert "Only good:1." in answer.body.decode()


def test_asking_for_a_name_again_does_not_apply_rules_again(site: Site) -> None:
    image = site.image("each/tool:1")
    with site.client() as client:
        first = client.resolve(container_image=image)
        again = client.resolve(name=first.target_image, refresh=True)
    assert (again.token, again.target_image) == (first.token, first.target_image)
