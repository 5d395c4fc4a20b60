"""`wavelet rules` and `wavelet pack`, as far as they ask a daemon: what is asked, and what is printed of its answer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubles.grpc_daemon import GrpcDaemon
from lab.command import Wavelet, in_process
from wavelet.v1.containers_pb2 import ContainerConfig, EngineNeeds, Layer, Packages, ResolveRequest
from wavelet.v1.packs_pb2 import GetPackResponse, ListPacksResponse, Pack
from wavelet.v1.rules_pb2 import (
    ExplainRulesRequest,
    ExplainRulesResponse,
    ListRulesResponse,
    RuleEffect,
    RuleSummary,
)

ASKED = {"version": 1, "plan": {"from": "docker.io/library/busybox:1.36", "platform": "linux/amd64"}}
EFFECTIVE = {
    "version": 1,
    "plan": {
        "base": {"from": "harbor.example/hub/library/busybox:1.36", "platform": "linux/amd64"},
        "config": {"env": ["SITE=1"]},
        "rules": ["site"],
    },
}
EFFECTS = [
    RuleEffect(rule="hub", place="10.yaml: rule 1", image="busybox:1.36", effect="taken from harbor.example"),
    RuleEffect(rule="site", place="20.yaml: rule 1", image="busybox:1.36", effect="added: environment SITE"),
]
CA = Pack(
    name="ca",
    version="1.2",
    directory="/etc/wavelet/packs/ca",
    architectures=["amd64"],
    config=ContainerConfig(
        entrypoint=["/launch"],
        env=["A=b"],
        layers=[Layer(location="http://a/packs/ca@1.2/x.tar.gz", gzip_digest="sha256:0", gzip_size=2000)],
    ),
    needs=EngineNeeds(devices=["/dev/fuse"], capabilities=["SYS_ADMIN"]),
    url="http://a/packs/ca.json",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GrpcDaemon]:
    with GrpcDaemon(tmp_path) as running:
        yield running


@pytest.fixture
def asking(server: GrpcDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wavelet:
    """Return the command, which asks a daemon that answers what the test says, on both of its sockets."""
    path = Path(server.target.removeprefix("unix:"))
    for name in ("wavelet.sock", "admin.sock"):
        path.with_name(name).symlink_to(path)
    monkeypatch.setenv("WAVELET_SOCKET", str(path.with_name("wavelet.sock")))
    return in_process(monkeypatch, capsys)


def explained(server: GrpcDaemon) -> ExplainRulesRequest:
    return ExplainRulesRequest.FromString(server.requests["ExplainRules"])


def test_rules_and_what_is_not_in_force(server: GrpcDaemon, asking: Wavelet) -> None:
    hub = RuleSummary(name="hub", place="10.yaml: rule 1", when="image docker.io/**", does="redirect to harbor.example")
    server.answers["ListRules"] = [[ListRulesResponse(rules=[hub], directory="/etc/wavelet/rules.d")]]
    said = asking("rules", "list")
    assert (said.code, said.err) == (0, "")
    assert "hub   10.yaml: rule 1  image docker.io/**  redirect to harbor.example" in said.out
    server.answers["ListRules"] = [[ListRulesResponse(rules=[hub], problems=["10.yaml: line 3: is not YAML"])]]
    said = asking("rules", "list", "-o", "json")
    assert (said.code, said.err) == (1, "wavelet: not in force: 10.yaml: line 3: is not YAML\n")
    assert json.loads(said.out)["rules"][0]["name"] == "hub"


@pytest.mark.parametrize(
    ("directory", "expected"), [("/etc/wavelet/rules.d", "in /etc/wavelet/rules.d"), ("", "not set")]
)
def test_no_rules(server: GrpcDaemon, asking: Wavelet, directory: str, expected: str) -> None:
    server.answers["ListRules"] = [[ListRulesResponse(directory=directory)]]
    assert expected in asking("rules", "list").out


def test_a_request_is_explained(server: GrpcDaemon, asking: Wavelet) -> None:
    answer = ExplainRulesResponse(
        effects=EFFECTS,
        asked_plan=json.dumps(ASKED),
        effective_plan=json.dumps(EFFECTIVE),
        needs=EngineNeeds(devices=["/dev/fuse"]),
    )
    server.answers["ExplainRules"] = [[answer]]
    said = asking("rules", "explain", "busybox:1.36", "--label", "team=x", "--pack", "ca", "--platform", "linux/arm64")
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "asked",
        "  docker.io/library/busybox:1.36  linux/amd64",
        "rules",
        "  hub (10.yaml: rule 1)",
        "    busybox:1.36: taken from harbor.example",
        "  site (20.yaml: rule 1)",
        "    busybox:1.36: added: environment SITE",
        "effective",
        "  harbor.example/hub/library/busybox:1.36  linux/amd64",
        "  + variable SITE=1",
        "  + by the rules site",
        "devices: /dev/fuse",
        "it binds: what asks in this way gets this and nothing else",
    ]
    request = ResolveRequest(
        container_image="busybox:1.36", platforms=["linux/arm64"], packs=["ca"], labels={"team": "x"}
    )
    assert explained(server) == ExplainRulesRequest(request=request)
    value = asking("rules", "explain", "busybox:1.36", "-o", "json").json()
    assert (value["askedPlan"], value["effectivePlan"]) == (ASKED, EFFECTIVE)
    assert [each["rule"] for each in value["effects"]] == ["hub", "site"]


def test_a_refusal_by_a_door_where_it_is_advice(server: GrpcDaemon, asking: Wavelet) -> None:
    answer = ExplainRulesResponse(
        effects=EFFECTS[:1], asked_plan=json.dumps(ASKED), refusal="Ask the site.", advice="podman goes on by itself"
    )
    server.answers["ExplainRules"] = [[answer]]
    said = asking("rules", "explain", "library/busybox:1.36", "--door", "registry", "--as", str(os.geteuid()))
    assert said.code == 0
    assert said.out.splitlines()[-2:] == ["refused: Ask the site.", "advice: podman goes on by itself"]
    assert explained(server).request == ResolveRequest(name="library/busybox:1.36")
    assert (explained(server).door, explained(server).uid) == ("registry", os.geteuid())
    assert asking("rules", "explain", "x", "--door", "sif", "-o", "json").json()["effectivePlan"] is None


def test_another_user_is_asked_for_as_an_administrator(server: GrpcDaemon, asking: Wavelet) -> None:
    server.answers["ExplainRules"] = [[ExplainRulesResponse()]]
    assert asking("rules", "explain", "busybox", "--as", "nobody").code == 0
    assert explained(server).uid == 65534
    Path(server.target.removeprefix("unix:")).with_name("admin.sock").unlink()
    assert asking("rules", "explain", "busybox", "--as", "65534").code == 3
    assert asking("rules", "explain", "busybox").code == 0
    absent = asking("rules", "explain", "busybox", "--as", "nobody-here")
    assert (absent.code, "there is no user 'nobody-here'" in absent.err) == (2, True)


def test_packages_are_explained_together(server: GrpcDaemon, asking: Wavelet) -> None:
    server.answers["ExplainRules"] = [[ExplainRulesResponse()]]
    assert "none applies" in asking("rules", "explain", "conda:samtools=1.17", "conda:bwa").out
    assert explained(server).request.packages == Packages(entries=["samtools=1.17", "bwa"])
    assert asking("rules", "explain", "busybox", "--door", "inspect").code == 0
    assert explained(server).request == ResolveRequest(name="busybox")
    for wrong in (("a", "b"), ("a", "conda:b"), ("conda:b", "--door", "registry")):
        assert asking("rules", "explain", *wrong).code == 2


def test_packs_and_what_is_wrong_with_them(server: GrpcDaemon, asking: Wavelet) -> None:
    broken = Pack(name="s3", directory="/etc/wavelet/packs/s3", problem="pack.yaml: line 2: is not YAML")
    server.answers["ListPacks"] = [[ListPacksResponse(packs=[CA, Pack(name="trace", version="1", shipped=True)])]]
    said = asking("pack", "list")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["pack", "ca", "trace"]
    assert said.out.splitlines()[2].endswith("wavelet")
    server.answers["ListPacks"] = [[ListPacksResponse(packs=[CA, broken])]]
    said = asking("pack", "list", "-o", "json")
    assert (said.code, said.err) == (1, "wavelet: pack s3: pack.yaml: line 2: is not YAML\n")
    assert json.loads(said.out)[0]["url"] == "http://a/packs/ca.json"


def test_a_pack_is_shown(server: GrpcDaemon, asking: Wavelet) -> None:
    server.answers["GetPack"] = [[GetPackResponse(pack=CA)]]
    said = asking("pack", "show", "ca@1.2")
    assert said.code == 0
    assert said.out.splitlines()[0] == "ca@1.2"
    for line in ("for           amd64", "capabilities  SYS_ADMIN", "variable      A=b", "x.tar.gz  sha256:0  2 kB"):
        assert line in said.out
