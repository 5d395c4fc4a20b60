"""The rules of a site as a service: groups, what admits, what is explained, and rules that nobody can read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

import pytest

from lab.packs import KnownPacks, pack
from rules.test_applying import AMD64, POST, PULL, conda, image, rule, when
from wavelet.image.reference import Digest, Reference
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.packs.model import Pack, PackPending
from wavelet.plan.node import ContainerConfig
from wavelet.rules import site_rules
from wavelet.rules.applying import RuleRefused
from wavelet.rules.model import Redirect, Rule, RuleSet, When
from wavelet.rules.site_rules import GroupsUnread, RulesUnread, SiteRules

X, Y = Digest.of(b"x"), Digest.of(b"y")


def site(*rules: Rule) -> SiteRules:
    return SiteRules(lambda: RuleSet(rules), KnownPacks([pack("ca", "1", "etc/ca")]))


def at(text: str, digest: Digest) -> RegistryImage:
    return RegistryImage(Reference.parse(text).at(digest), AMD64)


async def test_the_groups_of_a_user_are_looked_up_where_a_rule_asks_for_them() -> None:
    own = next(iter(os.getgrouplist("root", 0)))
    rules = site(rule(when(gids=frozenset({own})), refuse="no"))
    with pytest.raises(RuleRefused):
        await rules.apply(image("busybox:1"), replace(POST, uid=0))
    assert (await rules.apply(image("busybox:1"), replace(POST, uid=None))).effects == []
    assert (await rules.apply(image("busybox:1"), replace(POST, uid=3_000_000))).effects == []


async def test_a_user_database_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(uid: int) -> frozenset[int]:
        raise TimeoutError

    monkeypatch.setattr(site_rules, "_look_up_groups", never)
    with pytest.raises(GroupsUnread, match="groups of uid 0"):
        await site(rule(when(gids=frozenset({7})), refuse="no")).apply(image("busybox:1"), replace(POST, uid=0))


async def test_without_rules_that_can_be_read_nothing_is_answered() -> None:
    closed = SiteRules(lambda: RuleSet(problems=("a.yaml: no",), is_closed=True), KnownPacks())
    with pytest.raises(RulesUnread, match=r"a\.yaml: no"):
        await closed.apply(image("busybox:1"), POST)
    with pytest.raises(RulesUnread):
        await closed.apply(image("busybox:1"), PULL)


@pytest.mark.parametrize(
    ("asked", "digest", "message"),
    [
        (image("quay.io/a/b:1"), X, r"^Ask for it by digest, NAME@sha256:… \(quay.io/a/b:1 is refused by .* pinned\)"),
        (at("quay.io/a/b", X), X, None),
        (image("ghcr.io/a/b:1"), X, None),
        (image("ghcr.io/a/b:1"), Y, f"^It is {Y}, which is none"),
        (image("docker.io/a/b:1"), X, None),
    ],
)
async def test_what_admits(asked: RegistryImage, digest: Digest, message: str | None) -> None:
    rules = site(
        rule(when("quay.io/*"), "pinned", require_digest=True),
        rule(when("ghcr.io/*"), "known", digests=frozenset({X})),
    )
    for wrapped in (lambda it: it, conda, lambda it: AugmentedImage(it, ContainerConfig(env=("A=1",)))):
        pinned = wrapped(RegistryImage(asked.reference.at(digest), AMD64))
        if message is None:
            await rules.admit(wrapped(asked), pinned)
        else:
            with pytest.raises(RuleRefused, match=message):
                await rules.admit(wrapped(asked), pinned)
    assert (rules.admits, site().admits) == (True, False)


async def test_what_is_explained() -> None:
    rules = site(
        rule(when("docker.io/*"), "hub", redirect=Redirect("docker.io", "reg.site")),
        rule(When(), "ca", packs=["ca"]),
        rule(when("reg.site/*"), "known", digests=frozenset({X})),
        rule(when("*:2"), "two", refuse="No second ones."),
    )
    outcome, refusal = await rules.explain(image("lab/x:1"), POST)
    assert [(each.rule.name, each.image, each.text) for each in outcome.effects] == [
        ("hub", "docker.io/lab/x:1", "taken from reg.site/lab/x:1"),
        ("ca", "reg.site/lab/x:1", "added: packs ca"),
        ("known", "reg.site/lab/x:1", "judged when it is pinned"),
    ]
    assert refusal == ""
    outcome, refusal = await rules.explain(image("lab/x:2"), POST)
    assert refusal == "No second ones. (reg.site/lab/x:2 is refused by the site's rule two)"
    assert [(each.rule.name, each.text) for each in outcome.effects][-1] == ("two", "refused")
    pinned = site(rule(When(), "pinned", require_digest=True))
    assert (await pinned.explain(image("lab/x:1"), POST))[1].startswith("Ask for it by digest")
    assert (await pinned.explain(at("lab/x", X), POST))[1] == ""


async def test_without_rules_that_can_be_read_nothing_is_admitted() -> None:
    closed = SiteRules(lambda: RuleSet(problems=("a.yaml: no",), is_closed=True), KnownPacks())
    with pytest.raises(RulesUnread):
        await closed.admit(image("busybox:1"), at("busybox", X))


async def test_what_was_pinned_to_nothing_that_is_known_is_not_admitted() -> None:
    rules = site(rule(when("ghcr.io/*"), "known", digests=frozenset({X})))
    with pytest.raises(RuleRefused, match="cannot be told"):
        await rules.admit(image("ghcr.io/a/b:1"), image("ghcr.io/a/b:1"))


async def test_a_pack_that_is_being_built_is_waited_for_and_refuses_nothing() -> None:
    built = pack("ca", "1", "etc/ca")
    packs = KnownPacks()
    waited: list[str] = []

    def pending(name: str, version: str | None = None) -> Pack:
        if not packs.packs:
            raise PackPending(name)
        return built

    async def settled(names: Iterable[str]) -> None:
        waited.extend(names)
        packs.packs.append(built)

    packs.get = pending  # type: ignore[method-assign]
    rules = SiteRules(lambda: RuleSet((rule(When(), packs=["ca"]),)), packs, settled)
    outcome = await rules.apply(image("busybox:1"), POST)
    assert (waited, outcome.packs) == (["ca"], [built])
