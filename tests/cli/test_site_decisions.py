"""Rules and packs of a daemon, as its users see them by commands."""

from __future__ import annotations

import pytest

from lab import conda_asks
from lab.command import Wavelet
from lab.grpc_site import Site
from lab.http import get

pytestmark = [pytest.mark.registry, pytest.mark.conda]


def test_the_rules_in_force(wavelet: Wavelet) -> None:
    found = wavelet("rules", "list", "-o", "json").json()
    assert [each["name"] for each in found["rules"]] == ["lab-refuses", "lab-adds"]
    assert found["problems"] == []
    assert "rules    2" in wavelet("status").out


def test_what_the_rules_make_of_a_request_is_what_was_explained(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("rules", "explain", site.image, "--label", "lab=add")
    for line in ("  + pack lab@1.2", "  + variable SITE=1", "devices: /dev/fuse", "capabilities: SYS_ADMIN"):
        assert line in said.out.splitlines()
    assert "lab-adds (rules.d/10-lab.yaml: rule 2)" in said.out
    made = wavelet("resolve", "-i", site.image, "--label", "lab=add", "-o", "json").json()
    assert made["needs"] == {"devices": ["/dev/fuse"], "capabilities": ["SYS_ADMIN"]}
    environment = conda_asks.config(site.node, made["targetImage"])["config"]["Env"]
    assert {"SITE=1", "LAB=1"} <= set(environment)
    assert made["targetImage"] != wavelet("resolve", "-i", site.image).out.strip()
    shown = wavelet("show", made["token"])
    assert "lab-adds" in shown.out
    assert "  rules: lab-adds" in shown.out.splitlines()
    assert "rules:   lab-adds" in get(f"http://{site.node.authority}/view/containers/{made['token']}").body.decode()
    [listed] = [each for each in wavelet("requests", "-o", "json").json() if each["token"] == made["token"]]
    assert listed["rules"] == ["lab-adds"]


def test_a_refusal_is_the_sites_sentence(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("rules", "explain", site.image, "--label", "lab=refuse")
    assert said.code == 0
    assert "refused: Not on this node." in said.out
    refused = wavelet("resolve", "-i", site.image, "--label", "lab=refuse")
    assert refused.code == 4
    assert refused.err.startswith("wavelet: refused: Not on this node.")
    assert "lab-refuses" in refused.err


def test_a_pack_that_is_asked_for(wavelet: Wavelet, site: Site) -> None:
    assert "lab@1.2" in wavelet("pack", "show", "lab").out
    said = wavelet("resolve", "-i", site.image, "--pack", "lab@1.2", "-o", "json")
    assert said.err == "wavelet: note: for the packs in it, start it with --device /dev/fuse --cap-add SYS_ADMIN\n"
    made = said.json()
    assert "LAB=1" in conda_asks.config(site.node, made["targetImage"])["config"]["Env"]
    absent = wavelet("resolve", "-i", site.image, "--pack", "lap")
    assert (absent.code, "lab is meant?" in absent.err) == (4, True)
    wrong = wavelet("pack", "show", "lap")
    assert (wrong.code, "NAME" in wrong.err) == (4, True)


def test_explaining_for_others_is_for_administrators(wavelet: Wavelet, site: Site) -> None:
    said = wavelet("rules", "explain", site.image, "--as", "nobody", "--label", "lab=add")
    assert said.code == 0, said.err
