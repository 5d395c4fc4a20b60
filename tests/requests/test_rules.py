"""A site's rules: what they make of a request is what is pinned, named and pulled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import ABOUT, Node, open_node, registry_plan
from lab.packs import NO_RULES
from wavelet.config import ConfigError, Freeze, Settings
from wavelet.errors import AccessRefused, InvalidRequest
from wavelet.image.reference import Repository
from wavelet.kinds.frozen.node import FrozenImage
from wavelet.kinds.mirrored.node import MirroredImage
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.reload import trial
from wavelet.requests.effective_plan import EffectivePlans
from wavelet.requests.request import Options, Request, Rewrite
from wavelet.requests.request_cache import Status
from wavelet.requests.site_repository import SiteRepository
from wavelet.requests.submissions import Submissions


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


def to_repository(path: str) -> Rewrite:
    """Return a rule that takes every image of a registry from one repository."""

    def rewrite(plan: PlanNode) -> PlanNode:
        assert isinstance(plan, RegistryImage)
        repository = Repository(plan.reference.repository.host, path)
        return replace(plan, reference=replace(plan.reference, repository=repository))

    return rewrite


def refuse(_: PlanNode) -> PlanNode:
    raise AccessRefused("this site takes images from its own registry only")


async def submit(node: Node, plan: PlanNode, *rules: Rewrite) -> Status:
    submissions = Submissions(
        EffectivePlans(NO_RULES, settings=rules), node.resolver, node.keeper, node.bindings, node.requests.decisions
    )
    return await submissions.submit(Request.of(plan, NOBODY, ABOUT, options=Options(wait=5.0)))


async def test_rules_are_applied_one_after_the_other() -> None:
    asked = registry_plan("localhost:5000", "lab/first")
    plans = EffectivePlans(NO_RULES, settings=[to_repository("lab/second"), to_repository("lab/third")])
    request = await plans.of(Request.of(asked, NOBODY, ABOUT))
    assert request.asked == asked
    assert request.effective == registry_plan("localhost:5000", "lab/third")


def test_the_sites_repository_is_for_what_is_frozen_and_names_none() -> None:
    image, own = registry_plan("localhost:5000", "lab/tool"), Repository("quay.io", "team/own")
    rule = SiteRepository(Settings(freeze=Freeze(repository="registry.example/frozen")))
    assert rule(image) == image
    assert rule(FrozenImage(image)) == FrozenImage(image, Repository("registry.example", "frozen"))
    assert rule(FrozenImage(image, own)) == FrozenImage(image, own)
    assert rule(rule(FrozenImage(image))) == rule(FrozenImage(image))
    rule.configure(Settings())()
    assert rule(FrozenImage(image)) == FrozenImage(image)


def test_nothing_is_mirrored_over_what_the_site_has_frozen() -> None:
    image = registry_plan("localhost:5000", "lab/tool")
    rule = SiteRepository(Settings(freeze=Freeze(repository="registry.example/frozen")))
    with pytest.raises(AccessRefused, match=r"^buildRepository: .*freeze\.repository"):
        rule(MirroredImage(image, Repository("registry.example", "frozen/lab/tool")))
    other = MirroredImage(image, Repository("registry.example", "frozen-not/lab/tool"))
    assert rule(other) == other


def test_a_daemon_without_names_of_its_own_freezes_into_repositories() -> None:
    image, target = registry_plan("localhost:5000", "lab/tool"), Repository("registry.example", "frozen")
    rule = SiteRepository(Settings(reserved_names=False))
    with pytest.raises(InvalidRequest, match=r"^freeze: .*reserved_names"):
        rule(FrozenImage(image))
    assert rule(FrozenImage(image, target)) == FrozenImage(image, target)
    assert rule(image) == image


def test_for_who_cannot_be_told_only_the_sites_repository_is_pushed_to() -> None:
    site = Settings(listen="0.0.0.0:9090", allow_remote=True, freeze=Freeze(repository="registry.example/frozen"))
    other, frozen = Repository("localhost:5000", "x"), Repository("registry.example", "frozen/samtools")
    rule = SiteRepository(site)
    with pytest.raises(AccessRefused, match=r"freeze\.repository alone"):
        rule.admit(other, NOBODY)
    rule.admit(frozen, NOBODY)
    rule.admit(other, Identity(1000))
    SiteRepository(Settings()).admit(other, NOBODY)


@pytest.mark.parametrize(
    "text", ["registry.example/Frozen", "registry.example", "registry.example/frozen:1", "https://registry.example/a"]
)
def test_a_repository_of_the_site_that_is_none_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^freeze\.repository: "):
        SiteRepository(Settings(freeze=Freeze(repository=text)))


async def test_what_a_rule_makes_of_a_request_is_named_and_pulled(node: Node, registry: Registry) -> None:
    mirrored = await submit(node, registry_plan(registry.host, "lab/absent"), to_repository("lab/tool"))
    plain = await node.ask(registry_plan(registry.host, "lab/tool"), wait=5.0)
    assert mirrored.request.token == plain.request.token
    assert mirrored.request.plan == registry_plan(registry.host, "lab/tool")
    await node.requests.pulls.realise(mirrored.request.token, NOBODY)


async def test_what_a_rule_refuses_is_written_down(node: Node, registry: Registry) -> None:
    with pytest.raises(AccessRefused, match="its own registry only"):
        await submit(node, registry_plan(registry.host, "lab/tool"), refuse)
    await node.database.write([])
    [entry] = node.requests.listing.of(NOBODY, everybody=True, limit=5)
    assert entry.entry.refused is not None
    assert entry.entry.refused.message.endswith("its own registry only")


@pytest.mark.parametrize(
    "text", ["registry.example/frozen:1", "https://registry.example/frozen", "127.0.0.1:9090/frozen"]
)
def test_what_cannot_be_the_sites_repository_is_said_before_a_daemon_runs(text: str) -> None:
    settings = Settings(freeze=Freeze(repository=text))
    for refuses in (SiteRepository, trial.check):
        with pytest.raises(ConfigError, match=r"^freeze\.repository: "):
            refuses(settings)
