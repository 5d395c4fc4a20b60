"""Watching a container request: phases, packages, bytes and logs from the start, and who ends the work by leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from doubles.registry import Registry
from lab.node import AMD64, Making, Node, open_node, package, registry_plan
from wavelet.errors import ImageNotFound, Unsolvable, UpstreamBroken
from wavelet.image.image import Image
from wavelet.image.reference import Digest
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.plan.node import ContainerConfig, Layer
from wavelet.plan.tokens import NOBODY
from wavelet.requests.progress import Failed, Ready
from wavelet.resolve.events import BytesDone, Event, LogLine, PackagesDone, PhaseBegan

PACKAGES = tuple(package(name) for name in ("a", "b", "c"))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with open_node(tmp_path / "state") as built:
        built.conda.packages = PACKAGES
        yield built


@pytest.fixture
def making(node: Node) -> Making:
    made = Making()
    node.makers.update(made.makers)
    return made


def asked(registry: Registry, *specs: str) -> CondaEnvironment:
    return CondaEnvironment(specs, ("lab",), AMD64, registry_plan(registry.host, "lab/base"))


class Watcher:
    """Watches a request in a task, and has what it was told."""

    def __init__(self, node: Node, token: str) -> None:
        self.events: list[Event] = []
        self.task = asyncio.create_task(self._watch(node, token))

    async def _watch(self, node: Node, token: str) -> None:
        async with aclosing(node.requests.tracker.watch(token, NOBODY)) as events:
            async for event in events:
                self.events.append(event)

    async def until(self, event: Event) -> None:
        async with asyncio.timeout(5):
            while event not in self.events:
                await asyncio.sleep(0.01)
                if self.task.done():
                    self.task.result()
                    assert event in self.events

    async def until_line(self, line: str) -> None:
        """Wait for a line of the log, without its time."""
        async with asyncio.timeout(5):
            while line not in self.lines:
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def phases(self) -> list[str]:
        return [event.phase for event in self.events if isinstance(event, PhaseBegan)]

    @property
    def lines(self) -> list[str]:
        return [event.text.split(" s  ")[-1] for event in self.events if isinstance(event, LogLine)]


async def test_two_requests_with_a_package_in_common(node: Node, making: Making, registry: Registry) -> None:
    plans = [asked(registry, "one"), asked(registry, "two")]
    one = Watcher(node, (await node.submit(plans[0], wait=0.0, keep=False)).token)
    await one.until(PhaseBegan("solving"))
    # The base is looked up for the platform first.
    await one.until_line("solving one")
    assert one.phases == ["pinning", "solving"]
    assert one.lines == ["solving one"]
    node.conda.go_on.set()
    await one.until(PackagesDone(0, 3))
    making.let("a")
    await one.until(PackagesDone(1, 3))
    # The second one comes when the first is at work: the same packages, but a request of its own.
    node.conda.packages = PACKAGES[:2]
    two = Watcher(node, (await node.submit(plans[1], wait=0.0, keep=False)).token)
    await two.until(PackagesDone(1, 2))
    late = Watcher(node, (await node.submit(plans[0], wait=0.0, keep=False)).token)
    await late.until(PackagesDone(1, 3))
    assert late.phases == one.phases == ["pinning", "solving", "making"]
    assert late.lines == one.lines
    making.let("b", "c")
    await asyncio.gather(one.task, two.task, late.task)
    assert sorted(making.begun) == ["a", "b", "c"]
    assert PackagesDone(3, 3) in one.events
    assert PackagesDone(2, 2) in two.events
    assert one.lines[:2] == ["solving one", "solved: 3 packages"]
    assert "b: made" in one.lines
    assert [event for event in one.events if isinstance(event, BytesDone)][-1].done > 0
    again = Watcher(node, (await node.submit(plans[0])).token)
    await again.task
    assert again.events == []


async def test_a_layer_is_verified_and_its_bytes_count(node: Node, registry: Registry) -> None:
    blob = b"\x1f\x8b" + b"x" * 200_000
    digest = registry.add_blob("lab/base", blob)
    fault = registry.fault(digest, stall=100_000)
    where = f"{registry.url}/v2/lab/base/blobs/{digest}"
    layer = Layer(Digest(digest), len(blob), Digest.of(b"tar"), where)
    plan = AugmentedImage(registry_plan(registry.host, "lab/base"), ContainerConfig(layers=(layer,)))
    watcher = Watcher(node, (await node.submit(plan, wait=0.0, keep=False)).token)
    await watcher.until(PhaseBegan("verifying"))
    async with asyncio.timeout(5):
        while not any(isinstance(event, BytesDone) and event.total >= len(blob) for event in watcher.events):
            await asyncio.sleep(0.01)
    fault.lift()
    registry.clear_faults()
    await watcher.leave()


async def test_a_failure_is_the_end_of_the_watch(node: Node, registry: Registry) -> None:
    node.conda.error = Unsolvable("no such package")
    watcher = Watcher(node, (await node.submit(asked(registry, "absent"), wait=0.0, keep=False)).token)
    await watcher.until(PhaseBegan("solving"))
    node.conda.go_on.set()
    with pytest.raises(Unsolvable, match="no such package"):
        await watcher.task
    assert watcher.lines[-1] == "failed: no such package"
    absent = await node.submit(registry_plan(registry.host, "lab/absent"), wait=0.0, keep=False)
    with pytest.raises(ImageNotFound):
        await Watcher(node, absent.token).task
    await node.until_tidy()


async def test_who_leaves_last_ends_it_and_nothing_is_left(node: Node, making: Making, registry: Registry) -> None:
    node.conda.go_on.set()
    plan = asked(registry, "one")
    token = (await node.submit(plan, wait=0.0, keep=False)).token
    one, other = Watcher(node, token), Watcher(node, token)
    for watcher in (one, other):
        await watcher.until(PackagesDone(0, 3))
    await one.leave()
    making.let("a")
    await other.until(PackagesDone(1, 3))
    assert not node.tidy
    await other.leave()
    await node.until_tidy()
    assert sorted(making.begun) == ["a", "b", "c"]
    making.let("b", "c")
    again = Watcher(node, token)
    await again.task
    assert sorted(making.begun) == ["a", "b", "b", "c", "c"]  # what was ready stays ready


async def test_a_kept_one_goes_on(node: Node, making: Making, registry: Registry) -> None:
    plan = asked(registry, "one")
    token = (await node.submit(plan, wait=0.0, keep=False)).token
    watcher = Watcher(node, token)
    await watcher.until(PhaseBegan("solving"))
    await node.submit(plan, wait=0.0)  # as an HTTP post
    await watcher.leave()
    node.conda.go_on.set()
    making.let("a", "b", "c")
    async with asyncio.timeout(5):
        while not isinstance((await node.requests.tracker.status(token, NOBODY)).state, Ready):
            await asyncio.sleep(0.01)
    assert (node.conda.begun, node.conda.cancelled) == (1, 0)


async def test_a_caller_that_goes_away_while_it_waits(node: Node, registry: Registry) -> None:
    plan = asked(registry, "one")
    for keep in (False, True):
        asking = asyncio.create_task(node.submit(plan, wait=60.0, keep=keep))
        async with asyncio.timeout(5):
            while node.conda.begun <= keep:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert node.conda.cancelled == 1
    node.conda.go_on.set()
    lock = (await node.resolver.pinned(plan, NOBODY)).plan
    assert (lock.packages, node.conda.begun) == (PACKAGES, 2)
    assert lock.base.reference.digest is not None
    assert (await node.resolver.pinned(plan, NOBODY, refresh=True)).plan.packages == PACKAGES
    assert node.conda.begun == 3


async def test_advice_is_what_its_reader_can_follow(node: Node, registry: Registry) -> None:
    """Fault E9: a Nextflow user sends no queries; what settled packages need is a command, or another version."""

    async def gone(_plan: object, _work: object) -> Image:
        raise UpstreamBroken("the archive is another one than the lock says")

    async def was_built(_lock: object) -> bool:
        return True

    node.makers[LockedEnvironment] = gone
    node.conda.was_built = was_built
    node.conda.go_on.set()
    request = (await node.ask(asked(registry, "a"), wait=5.0)).request
    state = (await node.requests.tracker.status(request.token, NOBODY)).state
    assert isinstance(state, Failed)
    first, _, advice = state.error.message.partition("; these packages were settled")
    assert first == "the archive is another one than the lock says"
    assert advice.index("wavelet conda solve --refresh") < advice.index("?refresh=true")
