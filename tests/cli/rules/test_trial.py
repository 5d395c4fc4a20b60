"""Rules tried on the containers of a pipeline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wavelet.cli.rules.trial import Node, Trial, by_container, try_all
from wavelet.config import Settings
from wavelet.front.registry.own_names import OwnReferences
from wavelet.image.reference import Platform
from wavelet.kinds.conda.site_defaults import defaults_of
from wavelet.packs.model import Pack, PackRefused, PackUse
from wavelet.rules.model import Asking, Do, Redirect, Rule, RuleSet, When
from wavelet.rules.patterns import image_glob
from wavelet.rules.site_rules import SiteRules

REQUEST = Asking("wave", "request", has_platform=False)
PULL = Asking("registry", "near-cache", has_platform=False)
TO_HARBOR = Redirect("docker.io", "harbor.example/hub")
HUB = Rule(
    "hub",
    "10.yaml: rule 1",
    When((image_glob("docker.io/**"),)),
    Do(redirect=Redirect("docker.io", "harbor.example/hub")),
)
NO_LATEST = Rule("no-latest", "10.yaml: rule 2", When((image_glob("**:latest"),)), Do(refuse="Name a version."))
CA = Rule("everywhere", "90.yaml: rule 1", When(), Do(packs=(PackUse("ca"),), env=("SITE=1",)))
BY_DIGEST = Rule("by-digest", "20.yaml: rule 1", When((image_glob("quay.io/**"),)), Do(require_digest=True))
FOR_ARM = Rule("arm", "95.yaml: rule 1", When(), Do(packs=(PackUse("arm", missing="skip"), PackUse("absent"))))


class OnePack:
    """Packs of a node that has two."""

    def get(self, name: str, version: str | None = None) -> Pack:
        if name not in ("ca", "arm"):
            raise PackRefused(f"there is no pack {name}")
        return Pack(name, version or "1", env=("CA=1",), architectures=frozenset({"arm64"} if name == "arm" else ()))


async def tried(container: str, *rules: Rule, asking: Asking = REQUEST, platform: Platform | None = None) -> Trial:
    own = OwnReferences(frozenset({"127.0.0.1:9090"}), lambda: defaults_of(Settings()))
    node = Node(SiteRules(lambda: RuleSet(rules), OnePack()), own, asking, platform)
    [trial] = await try_all(node, {container: ("A", "B")})
    return trial


def test_processes_of_each_container() -> None:
    found = by_container([("A", "x"), ("B", "y"), ("C", "x"), ("D", "")])
    assert found == {"x": ("A", "C"), "y": ("B",)}


async def test_what_no_rule_is_for_is_unchanged() -> None:
    trial = await tried("quay.io/org/tool:1", HUB, NO_LATEST)
    assert (trial.verdict, trial.image, trial.effects) == ("unchanged", "quay.io/org/tool:1", ())


async def test_what_is_taken_from_elsewhere_and_added() -> None:
    trial = await tried("docker://busybox:1.36", HUB, CA)
    assert (trial.verdict, trial.image) == ("changed", "harbor.example/hub/library/busybox:1.36")
    assert trial.processes == ("A", "B")
    assert trial.packs == ("ca@1",)
    assert [(rule, place) for rule, place, _ in trial.effects] == [("hub", HUB.place), ("everywhere", CA.place)]


async def test_what_is_refused_says_by_which_rule() -> None:
    trial = await tried("busybox", NO_LATEST)
    assert trial.verdict == "refused"
    assert trial.refusal.startswith("Name a version.")
    assert "no-latest" in trial.refusal
    assert trial.effects == (("no-latest", NO_LATEST.place, "refused"),)


@pytest.mark.parametrize(
    ("container", "verdict"), [("quay.io/org/tool:1", "refused"), (f"quay.io/org/tool@sha256:{'0' * 64}", "unchanged")]
)
async def test_a_digest_that_has_to_be_there(container: str, verdict: str) -> None:
    assert (await tried(container, BY_DIGEST)).verdict == verdict


async def test_packs_that_are_missing() -> None:
    skipping = replace(FOR_ARM, do=Do(packs=FOR_ARM.do.packs[:1]))
    assert "arm@1" in (await tried("busybox", skipping)).notes[0]
    assert (await tried("busybox", skipping, platform=Platform("linux", "arm64"))).packs == ("arm@1",)
    assert "there is no pack absent" in (await tried("busybox", FOR_ARM)).refusal


async def test_an_engine_that_pulls_by_a_name_gets_nothing_added() -> None:
    trial = await tried("busybox:1.36", HUB, CA, asking=PULL)
    assert (trial.verdict, trial.packs) == ("changed", ())
    assert "names: changed" in trial.effects[1][2]


@pytest.mark.parametrize("container", ["/data/tool.sif", "oras://quay.io/x", f"127.0.0.1:9090/wt/{'0' * 32}/a:1"])
async def test_what_rules_do_not_see(container: str) -> None:
    assert (await tried(container, NO_LATEST, CA)).verdict == "not seen"


async def test_names_of_the_node_are_what_they_stand_for() -> None:
    near = await tried("127.0.0.1:9090/library/busybox:1.36", HUB)
    assert (near.verdict, near.image) == ("changed", "harbor.example/hub/library/busybox:1.36")
    packages = await tried("127.0.0.1:9090/conda/samtools:1.17", HUB, CA)
    assert [rule for rule, _, _ in packages.effects] == ["hub", "everywhere"]
    assert "samtools" in packages.image


async def test_what_is_no_name_is_refused_like_by_the_daemon() -> None:
    trial = await tried("Not A Name", HUB)
    assert (trial.verdict, trial.image) == ("refused", "")
    assert "Not A Name" in trial.refusal
