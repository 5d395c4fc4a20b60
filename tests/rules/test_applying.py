"""Rules applied to plans: what each makes of the images a plan starts from, in what order, and what it leaves alone."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.packs import KnownPacks, pack
from wavelet.image.reference import Digest, Platform, Reference, Repository
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.index.node import ImageIndex
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.kinds.sif.node import SifImage
from wavelet.packs.model import PackRefused, PackUse
from wavelet.plan.hosted import unowned
from wavelet.plan.node import ContainerConfig, Node
from wavelet.rules.applying import Outcome, RuleRefused, apply
from wavelet.rules.index import IndexedRules
from wavelet.rules.model import Asking, Do, ImagePattern, Pattern, Redirect, Rule, When
from wavelet.rules.patterns import image_glob as read_image_glob

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
POST = Asking("wave", "request", 1000, has_platform=False)
PULL = Asking("registry", "near-cache", 0)
CA, TRACE = pack("ca", "1", "etc/ca"), pack("trace", "1", "bin/ps", architectures=("amd64",))
PACKS = KnownPacks([CA, TRACE, pack("other", "1", "etc/ca"), pack("launcher", "1", "l", entrypoint=("/l",))])
SITES = Redirect("docker.io", "reg.site/hub")


def glob(text: str) -> ImagePattern:
    name, at, digest = text.partition("@")
    head, colon, tag = name.rpartition(":")
    repository, tag = (head, tag) if colon and "/" not in tag else (name, "")
    return ImagePattern(text, _glob(repository), _glob(tag) if tag else None, _glob(digest) if at else None)


def _glob(text: str) -> Pattern:
    return Pattern(text, lambda value: fnmatch.fnmatchcase(value, text))


def when(image: str = "", **more: Any) -> When:
    return When(images=(glob(image),) if image else (), **more)


def rule(when: When, name: str = "r", scope: Any = "whole", names: bool = False, **do: Any) -> Rule:
    if "packs" in do:
        do["packs"] = tuple(PackUse.parse(text, "packs") for text in do["packs"])
    return Rule(name, f"site.yaml: {name}", when, Do(**do), scope, names)


def image(text: str, platform: Platform | None = AMD64) -> RegistryImage:
    return RegistryImage(Reference.parse(text), platform)


def conda(base: Node) -> CondaEnvironment:
    return CondaEnvironment(("samtools",), ("conda-forge",), AMD64, base)


def applied(rules: Sequence[Rule], plan: Node, asking: Asking = POST, wanted: Sequence[PackUse] = ()) -> Outcome:
    return apply(IndexedRules(rules), plan, asking, PACKS, wanted)


def test_without_rules_a_plan_stays_as_it_is() -> None:
    plan = AugmentedImage(image("ubuntu"), ContainerConfig(env=("A=1",)))
    assert applied([], plan) == Outcome(plan)


@pytest.mark.parametrize(
    ("asked", "redirect", "effective"),
    [
        ("busybox:1", SITES, "reg.site/hub/library/busybox:1"),
        ("biocontainers/x:1", SITES, "reg.site/hub/biocontainers/x:1"),
        (
            "biocontainers/x:1",
            Redirect("docker.io/biocontainers", "quay.io/biocontainers"),
            "quay.io/biocontainers/x:1",
        ),
        ("biocontainers-not/x:1", Redirect("docker.io/biocontainers", "quay.io/b"), "biocontainers-not/x:1"),
        ("quay.io/lab/x:1", Redirect("quay.io/lab/x", "localhost:5000/y"), "localhost:5000/y:1"),
        ("quay.io/x:1", Redirect("quay.io", "docker.io"), "docker.io/library/x:1"),
        ("quay.io/a/b@sha256:" + "0" * 64, Redirect("quay.io", "reg.site"), "reg.site/a/b@sha256:" + "0" * 64),
    ],
)
def test_an_image_comes_from_elsewhere(asked: str, redirect: Redirect, effective: str) -> None:
    outcome = applied([rule(When(), redirect=redirect)], image(asked))
    assert outcome.plan == image(effective)
    assert outcome.applied == (() if asked == effective else ("r",))


def test_each_image_that_a_plan_starts_from_comes_from_elsewhere() -> None:
    include = image("docker.io/lab/extra:1")
    plan = FrozenImage(AugmentedImage(conda(image("ubuntu:24.04")), ContainerConfig(), (include,)))
    made = applied([rule(When(), redirect=SITES)], plan).plan
    there = image("reg.site/hub/library/ubuntu:24.04"), image("reg.site/hub/lab/extra:1")
    assert made == FrozenImage(AugmentedImage(conda(there[0]), ContainerConfig(), (there[1],)))


def test_rules_follow_each_other_and_cannot_loop() -> None:
    there = rule(when("quay.io/*"), "there", redirect=Redirect("quay.io", "ghcr.io"))
    back = rule(when("ghcr.io/*"), "back", redirect=Redirect("ghcr.io", "quay.io"))
    assert applied([there, back], image("quay.io/a/b:1")).plan == image("quay.io/a/b:1")
    assert applied([back, there], image("quay.io/a/b:1")).plan == image("ghcr.io/a/b:1")
    assert applied([there, back], image("quay.io/a/b:1")).applied == ("there", "back")


def test_a_refusal_says_the_sites_sentence_first() -> None:
    with pytest.raises(RuleRefused) as caught:
        applied([rule(when("docker.io/*"), "hub", refuse="Use reg.site.")], image("busybox:1"))
    assert caught.value.message == ("Use reg.site. (docker.io/library/busybox:1 is refused by the site's rule hub)")
    assert (caught.value.status, caught.value.code) == (403, "DENIED")


def test_an_included_image_is_refused_too() -> None:
    plan = AugmentedImage(image("quay.io/a/b:1"), ContainerConfig(), (image("busybox:1"),))
    with pytest.raises(RuleRefused, match="library/busybox"):
        applied([rule(when("docker.io/*"), refuse="no")], plan)


@pytest.mark.parametrize(
    ("condition", "asking", "is_for"),
    [
        (when(doors=frozenset({"grpc"})), POST, False),
        (when(doors=frozenset({"wave", "grpc"})), POST, True),
        (when(forms=frozenset({"conda"})), POST, False),
        (when(uids=frozenset({1000})), POST, True),
        (when(uids=frozenset({0})), POST, False),
        (when(uids=frozenset({0})), PULL, True),
        (when(gids=frozenset({7})), POST, False),
        (when(gids=frozenset({7})), Asking("wave", "request", 1, frozenset({7, 8})), True),
        (when(labels=(("team", _glob("gen*")),)), POST, False),
        (when(labels=(("team", _glob("gen*")),)), Asking("grpc", "request", labels={"team": "genomics"}), True),
        (when(labels=(("team", _glob("gen*")),)), Asking("grpc", "request", labels={"team": "x"}), False),
        (when(platforms=frozenset({ARM64})), POST, False),
        (when(platforms=frozenset({AMD64})), POST, True),
        (when(sources=frozenset({"conda"})), POST, False),
        (when(sources=frozenset({"image"})), POST, True),
        (When(but_not=(glob("docker.io/library/*"),)), POST, False),
        (When(images=(glob("docker.io/*"),), but_not=(glob("*:2"),)), POST, True),
        (when("docker.io/*:1"), POST, True),
        (when("docker.io/*:2"), POST, False),
        (when("docker.io/*@sha256:*"), POST, False),
    ],
)
def test_conditions(condition: When, asking: Asking, is_for: bool) -> None:
    rules = [rule(condition, refuse="no")]
    if is_for:
        with pytest.raises(RuleRefused):
            applied(rules, image("busybox:1"), asking)
    else:
        assert applied(rules, image("busybox:1"), asking).effects == []


def test_packages_and_the_image_under_them() -> None:
    refuse = [rule(when(sources=frozenset({"conda"})), refuse="no")]
    with pytest.raises(RuleRefused):
        applied(refuse, conda(image("ubuntu:24.04")))
    assert applied(refuse, image("ubuntu:24.04")).effects == []
    as_file = Asking("wave", "request", is_container_file=True)
    assert applied(refuse, conda(image("ubuntu:24.04")), as_file).effects == []


def test_hosted_images_are_matched_as_they_are_named() -> None:
    hosted = RegistryImage(Reference(unowned("lab/x"), "1"))
    with pytest.raises(RuleRefused, match="local/lab/x:1"):
        applied([rule(when("docker.io/local/*"), refuse="no")], hosted)


@pytest.mark.parametrize("asking", [POST, Asking("wave", "request", has_platform=True)])
def test_a_platform_is_chosen_where_none_is_named(asking: Asking) -> None:
    outcome = applied([rule(When(), set_platform=ARM64)], image("busybox:1"), asking)
    assert outcome.plan == image("busybox:1", AMD64 if asking.has_platform else ARM64)


def test_a_platform_that_is_named_is_replaced_where_the_rule_is_for_it() -> None:
    named = Asking("wave", "request", has_platform=True)
    rules = [rule(when(platforms=frozenset({AMD64})), set_platform=ARM64)]
    assert applied(rules, image("busybox:1"), named).plan == image("busybox:1", ARM64)
    other = image("busybox:1", Platform.parse("linux/arm/v7"))
    assert applied(rules, other, named).plan == other


def test_a_platform_can_be_required() -> None:
    rules = [rule(When(), require_platforms=(ARM64,))]
    assert applied(rules, image("busybox:1", ARM64)).effects == []
    assert applied(rules, image("busybox:1", Platform.parse("linux/arm64/v8"))).effects == []
    with pytest.raises(RuleRefused, match="It is asked for as linux/amd64, and this site takes linux/arm64"):
        applied(rules, image("busybox:1"))


def test_packs_environment_and_labels_are_added_on_top() -> None:
    rules = [
        rule(When(), "one", packs=["ca"], env=("A=1",)),
        rule(When(), "two", packs=["trace", "ca"], labels=(("k", "v"),)),
    ]
    plan = AugmentedImage(image("busybox:1"), ContainerConfig(env=("A=0", "B=0")))
    outcome = applied(rules, plan)
    config = ContainerConfig(
        env=("A=1", "B=0", "CA=1", "TRACE=1"),
        layers=(CA.layers[0].layer, TRACE.layers[0].layer),
        labels=(("k", "v"),),
    )
    assert outcome.plan == AugmentedImage(image("busybox:1"), config, (), ("one", "two"))
    assert (outcome.applied, outcome.packs) == (("one", "two"), [CA, TRACE])
    again = applied(rules, outcome.plan)
    assert again.plan == outcome.plan, "what is there already is not added again"


def test_what_a_request_asks_for_lies_below_what_rules_add() -> None:
    outcome = applied([rule(When(), packs=["ca"])], image("busybox:1"), wanted=[PackUse("trace"), PackUse("ca")])
    assert isinstance(outcome.plan, AugmentedImage)
    assert outcome.plan.config.layers == (TRACE.layers[0].layer, CA.layers[0].layer)
    assert applied([], image("busybox:1"), wanted=[PackUse("ca")]).plan == AugmentedImage(image("busybox:1"), CA.config)


@pytest.mark.parametrize(
    ("wrap", "below"),
    [
        (FrozenImage, True),
        (lambda it: SifImage(it, AMD64), True),
        (lambda it: SifImage(FrozenImage(it), AMD64), True),
        (lambda it: ImageIndex(((AMD64, it), (ARM64, image("busybox:1", ARM64)))), True),
        (lambda it: MirroredImage(it, Repository("quay.io", "x")), False),
    ],
)
def test_additions_go_below_what_only_says_where_an_image_goes(wrap: Any, below: bool) -> None:
    plan = wrap(image("busybox:1"))
    outcome = applied([rule(When(), packs=["ca"])], plan)
    added = AugmentedImage(image("busybox:1"), CA.config, (), ("r",))
    if not below:
        assert (outcome.plan, outcome.applied) == (plan, ())
        assert "copied as it is" in outcome.effects[0].text
    elif isinstance(plan, ImageIndex):
        on_arm = AugmentedImage(image("busybox:1", ARM64), CA.config, (), ("r",))
        assert outcome.plan == ImageIndex(((AMD64, added), (ARM64, on_arm)))
    else:
        assert outcome.plan == wrap(added)


def test_a_rule_for_each_adds_to_the_images_that_it_means() -> None:
    plan = AugmentedImage(image("quay.io/a/b:1"), ContainerConfig(), (image("busybox:1"),))
    outcome = applied([rule(when("docker.io/*"), scope="each", packs=["ca"])], plan)
    assert isinstance(outcome.plan, AugmentedImage)
    assert outcome.plan.includes == (AugmentedImage(image("busybox:1"), CA.config, (), ("r",)),)
    assert outcome.plan.base == image("quay.io/a/b:1")
    whole = applied([rule(when("docker.io/*"), packs=["ca"])], plan)
    assert whole.plan == plan, "the whole is called after another image"


def test_what_is_asked_for_by_digest_is_not_changed() -> None:
    plan = RegistryImage(Reference.parse(f"busybox@{Digest.of(b'x')}"), None)
    for scope in ("whole", "each"):
        for asking in (POST, PULL):
            rules = [rule(When(), scope=scope, names=True, packs=["ca"], set_platform=ARM64)]
            outcome = applied(rules, plan, asking)
            assert (outcome.plan, outcome.applied) == (plan, ())
            assert all("by digest" in effect.text for effect in outcome.effects)
    with pytest.raises(RuleRefused):
        applied([rule(When(), refuse="no")], plan, PULL)


def test_packages_on_an_image_by_digest_are_added_to() -> None:
    plan = conda(RegistryImage(Reference.parse(f"busybox@{Digest.of(b'x')}"), AMD64))
    assert applied([rule(When(), packs=["ca"])], plan).plan == AugmentedImage(plan, CA.config, (), ("r",))


def test_an_image_pulled_by_its_own_name_is_changed_only_where_the_site_says_so() -> None:
    plan = image("busybox:1", None)
    asking = Asking("registry", "near-cache", 0, has_platform=False)
    outcome = applied([rule(When(), packs=["ca"], redirect=SITES, set_platform=ARM64)], plan, asking)
    assert outcome.plan == image("reg.site/hub/library/busybox:1", None)
    assert any("names: changed" in effect.text for effect in outcome.effects)
    outcome = applied([rule(When(), packs=["ca"], names=True, set_platform=ARM64)], plan, asking)
    assert outcome.plan == AugmentedImage(image("busybox:1", ARM64), CA.config, (), ("r",))


def test_a_pack_that_lacks_an_architecture_is_refused_or_left_out() -> None:
    with pytest.raises(PackRefused, match="trace@1 has nothing for arm64, only for amd64"):
        applied([rule(When(), packs=["trace"])], image("busybox:1", ARM64))
    use = PackUse("trace", missing="skip")
    outcome = applied([Rule("r", "r", When(), Do(packs=(use, PackUse("ca"))))], image("busybox:1", ARM64))
    assert outcome.plan == AugmentedImage(image("busybox:1", ARM64), CA.config, (), ("r",))
    assert outcome.notes == ["the pack trace@1 has nothing for arm64, only for amd64, and was left out"]


def test_packs_in_each_others_way_are_refused_by_name() -> None:
    with pytest.raises(PackRefused, match=r"ca@1 and other@1 both have /etc/ca.* \(the site's .*: one, two\)"):
        applied([rule(When(), "one", packs=["ca"]), rule(When(), "two", packs=["other"])], image("busybox:1"))


def test_a_pack_that_only_the_request_asks_for_is_refused_without_a_rule() -> None:
    rules = [rule(When(), env=["A=b"])]
    for asked in ([], rules):
        with pytest.raises(PackRefused, match="absent") as refused:
            applied(asked, image("busybox:1"), wanted=[PackUse("absent")])
        assert "rules" not in refused.value.message


def test_a_launcher_on_a_launcher_hands_on_to_it() -> None:
    plan = AugmentedImage(image("busybox:1"), ContainerConfig(entrypoint=("/fusion",)))
    outcome = applied([rule(When(), packs=["launcher"])], plan)
    assert isinstance(outcome.plan, AugmentedImage)
    assert outcome.plan.base == image("busybox:1")
    assert "/l" in outcome.plan.config.entrypoint
    assert applied([rule(When(), packs=["launcher"])], outcome.plan).plan == outcome.plan


@pytest.mark.parametrize(
    "asked", ["QUAY.IO/lab/x:1", "quay.io:443/lab/x:1", "quay.io:0443/lab/x:1", "Quay.io:00443/lab/x:1"]
)
def test_a_registry_has_one_name_however_it_is_spelled(asked: str) -> None:
    site = read_image_glob("quay.io/**")
    redirect = rule(When(images=(site,)), redirect=Redirect("quay.io", "reg.site/q"))
    assert applied([redirect], image(asked)).plan == image("reg.site/q/lab/x:1")
    with pytest.raises(RuleRefused):
        applied([rule(When(images=(site,)), refuse="no")], image(asked))


@pytest.mark.parametrize(
    ("asked", "redirect"),
    [
        ("quay.io/lab:1", Redirect("quay.io/lab", "reg.site")),
        (f"quay.io/{'a' * 240}:1", Redirect("quay.io", f"reg.site/{'b' * 20}")),
    ],
)
def test_what_is_to_be_taken_from_where_no_image_can_be_is_refused(asked: str, redirect: Redirect) -> None:
    with pytest.raises(RuleRefused, match="is no name of a repository"):
        applied([rule(When(), redirect=redirect)], image(asked))


def test_hosted_images_are_not_redirected_as_if_they_were_docker_hubs() -> None:
    hosted = RegistryImage(Reference(unowned("lab/x"), "1"))
    assert applied([rule(When(), redirect=SITES)], hosted).plan == hosted


def test_what_many_rules_add_to_each_is_added_at_once_and_the_last_counts() -> None:
    plan = AugmentedImage(image("quay.io/a/b:1"), ContainerConfig(), (image("busybox:1"),))
    rules = [rule(When(), f"r{n}", scope="each", env=(f"A={n}",)) for n in range(1000)]
    names = tuple(f"r{n}" for n in range(1000))
    config = ContainerConfig(env=("A=999",))
    added = AugmentedImage(image("quay.io/a/b:1"), config, (), names)
    assert applied(rules, plan).plan == replace(
        plan, base=added, includes=(AugmentedImage(image("busybox:1"), config, (), names),)
    )


def test_nothing_is_added_below_what_is_copied_as_it_is() -> None:
    plan = MirroredImage(image("busybox:1"), Repository("quay.io", "x"))
    outcome = applied([rule(When(), scope="each", env=("A=1",))], plan)
    assert (outcome.plan, outcome.applied) == (plan, ())
    assert "copied as it is" in outcome.effects[0].text


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [("local/lab/*", True), ("**:1", True), ("docker.io/**", False), ("docker.io/*/lab/x", False), ("**:2", False)],
)
def test_a_rule_for_docker_hub_is_for_no_image_of_this_node(pattern: str, is_meant: bool) -> None:
    hosted = RegistryImage(Reference(unowned("lab/x"), "1"))
    rules = [rule(When(images=(read_image_glob(pattern),)), env=("A=1",))]
    assert bool(applied(rules, hosted).applied) == is_meant
    excepted = [rule(When(but_not=(read_image_glob(pattern),)), env=("A=1",))]
    assert bool(applied(excepted, hosted).applied) != is_meant
