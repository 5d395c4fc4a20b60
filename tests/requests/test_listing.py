"""What was asked of a node, by whom, and how far it is: users see their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from doubles.registry import Registry
from lab.node import ABOUT, AMD64, Making, Node, open_node, package, registry_plan
from wavelet.errors import ImageNotFound, NotServed, TokenNotFound
from wavelet.front.grpc import answers
from wavelet.front.wave.answers import page
from wavelet.kinds.conda.model.node import CondaEnvironment
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import Identity
from wavelet.requests.access import AccessRules
from wavelet.requests.audit import Audit
from wavelet.requests.history import GRAIN, Entry, History
from wavelet.requests.listing import Listed
from wavelet.requests.progress import Failed, Pending, Ready
from wavelet.requests.request import About
from wavelet.resolve.events import LogLine, PhaseBegan

ANN, BOB = Identity(1001), Identity(1002)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        yield built


async def submit(
    node: Node, plan: PlanNode, identity: Identity, image: str, *notes: str, rules: tuple[str, ...] = ()
) -> str:
    about = About(api="v1alpha2", image=image, notes=notes, rules=rules)
    request = (await node.ask(plan, identity, about=about, wait=5.0)).request
    return request.token


async def listed(node: Node, identity: Identity, *, everybody: bool = False, limit: int = 10) -> list[Listed]:
    await node.database.write([])  # what is written later is there
    return list(node.requests.listing.of(identity, everybody=everybody, limit=limit))


async def test_users_see_their_own_and_administrators_all(node: Node, registry: Registry) -> None:
    plan = registry_plan(registry.host, "lab/base")
    token = await submit(node, plan, ANN, "lab/base:1", "wave.build.repository (buildRepository): is not used")
    with pytest.raises(ImageNotFound):
        await submit(node, registry_plan(registry.host, "lab/absent"), BOB, "lab/absent:1")
    node.requests.decisions.refused(NotServed("wave.freeze (freeze): no", field="freeze"), ABOUT, BOB)
    [own] = await listed(node, ANN)
    assert (own.entry.token, own.entry.uid, own.entry.image, own.state) == (token, 1001, "lab/base:1", Ready())
    assert own.entry.notes == ("wave.build.repository (buildRepository): is not used",)
    unread, absent = await listed(node, BOB)
    assert isinstance(unread.state, Failed)
    assert (unread.entry.token, unread.state.error.message) == ("", "wave.freeze (freeze): no")
    assert isinstance(absent.state, Failed)
    assert isinstance(absent.state.error, ImageNotFound)
    assert absent.entry.token
    assert [each.entry.uid for each in await listed(node, ANN, everybody=True)] == [1002, 1002, 1001]
    assert [each.entry.uid for each in await listed(node, ANN, everybody=True, limit=1)] == [1002]


async def test_rules_that_were_applied_are_told_with_the_request(
    node: Node, registry: Registry, tmp_path: Path
) -> None:
    node.requests.decisions._audit = audit = Audit(tmp_path / "audit.log")
    token = await submit(
        node, registry_plan(registry.host, "lab/base"), ANN, "lab/base:1", "is not used", rules=("mirror", "10.yaml#2")
    )
    audit.close()
    assert json.loads((tmp_path / "audit.log").read_text())["rules"] == ["mirror", "10.yaml#2"]
    [own] = await listed(node, ANN)
    assert answers.listed(own).rules == ["mirror", "10.yaml#2"]
    status = await node.requests.tracker.status(token, ANN)
    assert "\nrules:   mirror, 10.yaml#2\n" in page(status, "a-name")
    assert await node.requests.details.log(token, ANN) == "note: is not used\nrules: mirror, 10.yaml#2\n"


async def test_a_refusal_is_told_to_whom_it_was_said(node: Node, registry: Registry) -> None:
    with pytest.raises(ImageNotFound):
        await submit(node, registry_plan(registry.host, "lab/absent"), BOB, "lab/absent:1")
    [refused] = await listed(node, BOB)
    with pytest.raises(TokenNotFound, match=r"was refused: .*lab/absent"):
        await node.requests.tracker.status(refused.entry.token, BOB)
    with pytest.raises(TokenNotFound) as told:
        await node.requests.tracker.status(refused.entry.token, ANN)
    assert "lab/absent" not in told.value.message


async def test_what_is_refused_as_it_stands_is_in_the_audit_log(node: Node, tmp_path: Path) -> None:
    """Fault D14: a 501 is a decision like any other."""
    audit = Audit(tmp_path / "audit.log")
    node.requests.decisions._audit = audit
    about = About(api="v1alpha2", image="busybox:1")
    node.requests.decisions.refused(NotServed("wave.freeze (freeze): no", field="freeze"), about, BOB)
    audit.close()
    [line] = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    line.pop("time")
    assert line == {
        "decision": "refused",
        "door": "v1alpha2",
        "uid": 1002,
        "name": "busybox:1",
        "reason": "wave.freeze (freeze): no",
    }


async def test_running_work_is_shown_and_looking_begins_none(node: Node, registry: Registry) -> None:
    node.conda.packages = (package("a"),)
    making = Making()
    node.makers.update(making.makers)
    asked = CondaEnvironment(("a",), ("lab",), AMD64, registry_plan(registry.host, "lab/base"))
    status = await node.ask(asked, ANN, wait=0.0)
    request = status.request
    assert isinstance(status.state, Pending)
    async with asyncio.timeout(5):
        while not node.conda.begun:
            await asyncio.sleep(0.01)
    [entry] = await listed(node, ANN)
    assert entry.state == Pending()
    assert entry.running is not None
    assert PhaseBegan("solving") in entry.running.events
    assert any(isinstance(event, LogLine) and "solving a" in event.text for event in entry.running.events)
    node.conda.go_on.set()
    making.let("a")
    async with asyncio.timeout(5):
        while not isinstance((await node.requests.tracker.status(request.token, ANN)).state, Ready):
            await asyncio.sleep(0.01)
    [entry] = await listed(node, ANN)
    assert (entry.state, entry.running) == (Ready(), None)


async def test_what_a_newer_version_wrote_is_passed_over(node: Node, registry: Registry) -> None:
    token = await submit(node, registry_plan(registry.host, "lab/base"), ANN, "lab/base:1")
    await node.database.write([("UPDATE outcomes SET outcome = ?", (b'{"asked_at": "never"}',))])
    assert History(node.database).outcome(token) is None
    await node.database.write([("UPDATE entries SET entry = ?", (b"{}",))])
    assert await listed(node, ANN) == []


async def test_what_is_asked_for_often_is_written_down_once(node: Node) -> None:
    entry = Entry(token="0" * 32, uid=1001, door="v1", image="lab/base:1", at=1000.0)
    for later in (entry, replace(entry, at=1001.0), replace(entry, at=1002.0, image="lab/base:2")):
        node.history.note(later)
    node.history.note(replace(entry, at=1003.0, image="lab/base:2"))
    [listed_entry] = [each.entry for each in await listed(node, ANN)]
    assert (listed_entry.at, listed_entry.image) == (1002.0, "lab/base:2")
    node.history.note(replace(entry, at=1003.0 + GRAIN, image="lab/base:2"))
    assert [each.entry.at for each in await listed(node, ANN)] == [1003.0 + GRAIN]


async def test_what_is_evicted_is_forgotten(node: Node, registry: Registry) -> None:
    token = await submit(node, registry_plan(registry.host, "lab/base"), ANN, "lab/base:1")
    await node.requests.evictions.evict(token, Identity(0), door="grpc")
    assert await listed(node, ANN) == []
    assert node.history.outcome(token) is None


def test_root_and_the_daemons_own_user_may_see_all() -> None:
    rules = AccessRules(1001)
    assert [rules.may_see_all(Identity(uid)) for uid in (0, 1001, 1002, None)] == [True, True, False, False]


async def test_what_is_made_already_is_ready_at_the_first_look(tmp_path: Path, registry: Registry) -> None:
    """Fault A7: also where no outcome was kept, as on another node or of an older version."""
    async with open_node(tmp_path / "state") as node:
        token = await submit(node, registry_plan(registry.host, "lab/base"), ANN, "lab/base:1")
        await node.database.write([("DELETE FROM outcomes", ())])
    async with open_node(tmp_path / "state") as node:
        assert (await node.requests.tracker.status(token, ANN)).state == Ready()
        assert (await listed(node, ANN))[0].state == Ready()
