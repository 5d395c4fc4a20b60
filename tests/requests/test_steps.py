"""The steps of requests: pin, make, after; and effects, which the last one runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import AMD64, Making, Node, open_node, package, registry_plan
from wavelet.errors import EngineFailed, Unsolvable
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.requests.binding import Effect
from wavelet.requests.progress import Failed, Pending, Ready, Step, Steps
from wavelet.requests.request import ContainerRequest
from wavelet.requests.request_cache import Status

DONE = ("done", "done", "done")


class Push:
    """An effect that goes on when the test says so."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.error: EngineFailed | None = None
        self.plans: list[PlanNode] = []

    async def run(self, _request: ContainerRequest, plan: PlanNode, _: Identity) -> None:
        self.plans.append(plan)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        built.conda.packages = (package("a"),)
        yield built


@pytest.fixture
async def pushing(tmp_path: Path) -> AsyncIterator[tuple[Node, Push]]:
    """Return a node with an effect."""
    push = Push()
    async with open_node(tmp_path / "state", effects=[Effect("push", lambda _: True, push.run)]) as built:
        yield built, push


def packages(registry: Registry) -> CondaEnvironment:
    return CondaEnvironment(("a",), ("lab",), AMD64, registry_plan(registry.host, "lab/base"))


def states(status: Status) -> tuple[str, ...]:
    return tuple(step.state for step in status.steps)


async def until(node: Node, token: str, *wanted: str) -> Status:
    """Look at a request until its steps are in these states."""
    async with asyncio.timeout(5):
        while states(status := await node.requests.tracker.status(token, NOBODY)) != wanted:
            await asyncio.sleep(0.01)
    return status


def test_the_step_that_work_is_in_has_its_state() -> None:
    steps = Steps().enter("pin", 1.0).enter("make", 2.0).enter("make", 3.0)
    assert steps.each("running") == (Step("pin", "done", 1.0), Step("make", "running", 2.0), Step("after"))
    error = Unsolvable("no")
    assert steps.each("failed", error)[1] == Step("make", "failed", 2.0, error)
    assert [step.state for step in steps.each("done")] == ["done"] * 3


async def test_packages_are_pinned_and_made(node: Node, registry: Registry) -> None:
    making = Making()
    node.makers.update(making.makers)
    token = (await node.submit(packages(registry), wait=0.0)).token
    await until(node, token, "running", "pending", "pending")
    told: list[Step] = []

    async def watch() -> None:
        async with aclosing(node.requests.tracker.watch(token, NOBODY)) as events:
            async for event in events:
                if isinstance(event, Step):
                    told.append(event)

    watching = asyncio.create_task(watch())

    async def until_told(name: str) -> None:
        async with asyncio.timeout(5):
            while (name, "running") not in [(step.name, step.state) for step in told]:
                await asyncio.sleep(0.01)

    await until_told("pin")
    node.conda.go_on.set()
    status = await until(node, token, "done", "running", "pending")
    assert status.state == Pending()
    assert all(step.since is not None for step in status.steps[:2])
    await until_told("make")
    making.let("a")
    assert (await until(node, token, *DONE)).state == Ready()
    await watching
    assert {step.name: step.state for step in told} == dict.fromkeys(("pin", "make", "after"), "done")


async def test_a_failure_is_of_its_step_also_after_a_restart(tmp_path: Path, registry: Registry) -> None:
    async def broken(plan: object, work: object) -> None:
        raise Unsolvable("cannot be made")

    async with open_node(tmp_path / "state") as node:
        node.conda.packages = (package("a"),)
        node.conda.go_on.set()
        node.makers.update(dict.fromkeys(Making().makers, broken))
        token = (await node.submit(packages(registry), wait=0.0)).token
        status = await until(node, token, "done", "failed", "pending")
        assert isinstance(status.state, Failed)
        assert status.steps[1].error == status.state.error
    async with open_node(tmp_path / "state") as node:
        await node.database.write([])
        [listed] = node.requests.listing.of(NOBODY, everybody=True, limit=1)
        assert isinstance(listed.state, Failed)
        status = await node.requests.tracker.status(token, NOBODY)
        assert states(status) == ("done", "failed", "pending")


async def test_a_request_is_ready_when_its_effects_are_done(pushing: tuple[Node, Push], registry: Registry) -> None:
    node, push = pushing
    plan = registry_plan(registry.host, "lab/tool")
    asked = await node.ask(plan, wait=0.2)
    assert asked.state == Pending()
    token = asked.request.token
    await until(node, token, "done", "done", "running")
    await node.requests.pulls.realise(token, NOBODY)
    await until(node, token, "done", "done", "running")
    equal = await node.ask(plan, wait=0.0)
    assert equal.request.token == token
    push.go_on.set()
    assert (await until(node, token, *DONE)).state == Ready()
    assert [each.reference.digest is not None for each in push.plans] == [True], "once, of what is pinned"


async def test_who_asks_again_has_effects_run_again(pushing: tuple[Node, Push], registry: Registry) -> None:
    node, push = pushing
    plan = registry_plan(registry.host, "lab/tool")
    push.go_on.set()
    token = (await node.ask(plan, wait=5.0)).request.token
    await until(node, token, *DONE)
    push.go_on.clear()
    again = await node.ask(plan, wait=0.0)
    assert (again.request.token, again.state) == (token, Pending()), "what was pushed may have been deleted"
    push.go_on.set()
    await until(node, token, *DONE)
    again = await node.ask(plan, wait=5.0)
    assert (again.state, states(again), len(push.plans)) == (Ready(), DONE, 3)


async def test_who_asks_is_told_of_the_effect_that_was_waited_for_though_others_ask_meanwhile(
    pushing: tuple[Node, Push], registry: Registry
) -> None:
    node, push = pushing
    plan = registry_plan(registry.host, "lab/tool")
    push.go_on.set()

    async def ask_again(later: int) -> list[Status]:
        for _ in range(later):
            await asyncio.sleep(0)
        return [await node.ask(plan, wait=5.0) for _ in range(20)]

    await node.ask(plan, wait=5.0)
    asked = await asyncio.gather(*map(ask_again, range(20)))
    assert {type(status.state) for each in asked for status in each} == {Ready}


async def test_an_effect_that_fails_fails_the_request(pushing: tuple[Node, Push], registry: Registry) -> None:
    node, push = pushing
    push.error = EngineFailed("the registry does not take it")
    push.error.passing = False
    push.go_on.set()
    plan = registry_plan(registry.host, "lab/tool")
    token = (await node.submit(plan, wait=5.0)).token
    status = await until(node, token, "done", "done", "failed")
    assert isinstance(status.state, Failed)
    assert "does not take it" in status.state.error.message
    push.error = None
    assert (await node.ask(plan)).request.token == token
    assert (await until(node, token, *DONE)).state == Ready()
    assert len(push.plans) == 2


async def test_after_a_restart_an_effect_is_done_again_when_it_is_asked_for(tmp_path: Path, registry: Registry) -> None:
    push, plan = Push(), registry_plan(registry.host, "lab/tool")
    push.go_on.set()
    effects = [Effect("push", lambda _: True, push.run)]
    async with open_node(tmp_path / "state", effects=effects) as node:
        token = (await node.submit(plan, wait=5.0)).token
        await until(node, token, *DONE)
        await node.database.write([])
    push.go_on.clear()
    async with open_node(tmp_path / "state", effects=effects) as node:
        assert (await node.requests.tracker.status(token, NOBODY)).state == Ready()
        assert (await node.ask(plan, wait=0.2)).request.token == token
        await until(node, token, "done", "done", "running")
        push.go_on.set()
        await until(node, token, *DONE)
    assert len(push.plans) == 2


async def test_nothing_is_done_for_a_dry_run(pushing: tuple[Node, Push], registry: Registry) -> None:
    node, push = pushing
    await node.ask(registry_plan(registry.host, "lab/tool"), dry_run=True, wait=5.0)
    assert not push.plans


async def test_who_watches_is_told_of_effects_while_they_run(pushing: tuple[Node, Push], registry: Registry) -> None:
    node, push = pushing
    token = (await node.submit(registry_plan(registry.host, "lab/tool"), wait=0.2)).token
    await until(node, token, "done", "done", "running")
    async with asyncio.timeout(5), aclosing(node.requests.tracker.watch(token, NOBODY)) as events:
        told = [await anext(events) for _ in range(3)]
        assert [(step.name, step.state) for step in told if isinstance(step, Step)][-1] == ("after", "running")
        push.go_on.set()
        rest = [event async for event in events]
    assert [(step.name, step.state) for step in rest if isinstance(step, Step)] == [("after", "done")]
