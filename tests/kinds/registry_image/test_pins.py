"""Tags and grants: how long an answer stands, and what stands in for an upstream that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from wavelet.config import Alias, Settings, settings
from wavelet.errors import (
    AccessRefused,
    ImageNotFound,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.image.image import OCI_MANIFEST
from wavelet.image.reference import Digest, Reference
from wavelet.kinds.augment.kind import AugmentedImages
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.kinds.kind import Kinds, Pinned
from wavelet.kinds.registry_image import kind
from wavelet.kinds.registry_image.kind import Pinner, RegistryImages
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import ContainerConfig, leaves, source_digest
from wavelet.plan.node import Node as PlanNode
from wavelet.plan.tokens import NOBODY, Identity
from wavelet.resolve.job import Jobs
from wavelet.resolve.steps import Pinning
from wavelet.store.database import Database
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.grants import SCHEMA, Grants
from wavelet.upstream.manifests import Found

TTL, GRACE = 300.0, 1000.0
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
TAG = Reference.parse("quay.io/a/b:1")
ANN, BOB = Identity(1001), Identity(1002)
REFUSED, DECLINED = AccessRefused("401"), AccessRefused("403", declined=True)
NO_ANSWERS = [UpstreamUnreachable("down"), UpstreamBusy("429"), UpstreamBroken("502")]


class Upstream:
    """Answers what the test has set, and counts."""

    def __init__(self) -> None:
        self.names = {str(TAG): ONE}
        self.readers: set[Identity] | None = None
        """Who may read; None: everybody."""
        self.error: WaveletError | None = None
        self.errors: dict[str, WaveletError] = {}
        self.asked: list[tuple[str, Identity]] = []

    async def head(self, reference: Reference, identity: Identity) -> Found:
        self.asked.append((str(reference), identity))
        await asyncio.sleep(0)
        error = self.errors.get(str(reference.repository), self.error)
        if error is not None:
            raise error
        if self.readers is not None and identity not in self.readers:
            raise AccessRefused(f"{reference}: 401")
        digest = reference.digest or self.names.get(str(reference))
        if digest is None:
            raise ImageNotFound(f"no image {reference}")
        return Found(digest, OCI_MANIFEST, 5, Granted(public=self.readers is None, by="test"))

    async def logins_version(self, identity: Identity) -> str:
        return ""


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        wall, steady = time.time, time.monotonic
        monkeypatch.setattr(time, "time", lambda: wall() + self._ahead)
        monkeypatch.setattr(time, "monotonic", lambda: steady() + self._ahead)

    def forward(self, seconds: float) -> None:
        self._ahead += seconds


class Node:
    """Pins and grants on one database; opening it again is a restart."""

    def __init__(self, path: Path, upstream: Upstream, aliases: tuple[Alias, ...]) -> None:
        self.database = Database(path / "node.db", kind.SCHEMA + SCHEMA, synchronous="NORMAL")
        asking = Settings(upstream=settings.Upstream(access_ttl=TTL, tag_ttl=TTL, grace=GRACE, aliases=aliases))
        self.access = Grants(self.database, upstream, asking)
        self.pinner = Pinner(self.database, self.access, asking)

    async def pin(self, plan: PlanNode) -> Pinned:
        """Pin a plan of several images, as the resolver does it."""
        kinds = Kinds([RegistryImages(self.pinner, Settings()), AugmentedImages()])
        nothing = cast(Any, None)
        return await Pinning(kinds, nothing, nothing, Jobs()).pin(plan, NOBODY, refresh=False)

    async def digest(self, identity: Identity = NOBODY, leaf: Reference = TAG) -> Digest:
        return source_digest((await self.pinner.pin(RegistryImage(leaf), identity)).plan)

    def fresh(self, identity: Identity = NOBODY, leaf: Reference = TAG) -> bool:
        return self.pinner.fresh(RegistryImage(leaf), identity) is not None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Node]]:
    """Return a function that starts a node on the test's database, after the last one was stopped."""
    running: list[Node] = []

    def started(*aliases: Alias) -> Node:
        while running:
            running.pop().database.close()
        running.append(Node(tmp_path, upstream, aliases))
        return running[0]

    yield started
    while running:
        running.pop().database.close()


@pytest.fixture
def node(start: Callable[..., Node]) -> Node:
    return start()


# -- freshness --------------------------------------------------------------------------------------------------------


async def test_a_tag_is_not_asked_for_again_within_its_time(node: Node, upstream: Upstream, clock: Clock) -> None:
    assert not node.fresh()
    assert await node.digest() == ONE
    upstream.names[str(TAG)] = TWO
    clock.forward(TTL - 5)
    assert node.fresh()
    assert await node.digest() == ONE
    assert len(upstream.asked) == 1
    clock.forward(10)
    assert not node.fresh()
    assert await node.digest() == TWO
    assert len(upstream.asked) == 2


async def test_a_tag_whose_image_is_gone_is_asked_for_anew_once(node: Node, upstream: Upstream, clock: Clock) -> None:
    """Fault B11: a definite 404 below a pinned tag asks for the tag anew, and not again while it is the same."""
    first = await node.digest()
    asked = len(upstream.asked)
    node.pinner.doubt(TAG.repository)
    assert node.pinner.is_doubted(RegistryImage(TAG)) and not node.fresh()
    assert await node.digest() == first
    assert len(upstream.asked) == asked + 1
    node.pinner.doubt(TAG.repository)
    assert node.fresh() and await node.digest() == first
    assert len(upstream.asked) == asked + 1
    clock.forward(TTL + 1)
    await node.digest()
    upstream.names[str(TAG)] = TWO
    node.pinner.doubt(TAG.repository)
    assert await node.digest() == TWO
    node.pinner.doubt(TAG.repository)
    assert not node.fresh(), "what is new can be gone too"


async def test_pins_and_grants_survive_a_restart(
    node: Node, start: Callable[..., Node], upstream: Upstream, clock: Clock
) -> None:
    await node.digest()
    again = start()
    assert again.fresh()
    assert await again.digest() == ONE
    assert len(upstream.asked) == 1


async def test_a_digest_does_not_move_but_access_is_asked_for_again(
    node: Node, upstream: Upstream, clock: Clock
) -> None:
    leaf = TAG.at(ONE)
    assert await node.digest(leaf=leaf) == ONE
    clock.forward(TTL - 5)
    assert node.fresh(leaf=leaf)
    clock.forward(10)
    assert not node.fresh(leaf=leaf)
    upstream.error = REFUSED
    with pytest.raises(AccessRefused):
        await node.digest(leaf=leaf)


async def test_an_upstream_that_answers_a_digest_with_another_is_not_believed(node: Node, upstream: Upstream) -> None:
    async def lie(reference: Reference, identity: Identity) -> Found:
        return Found(TWO, OCI_MANIFEST, 5, Granted(public=True, by="test"))

    upstream.head = lie  # type: ignore[method-assign]
    with pytest.raises(WaveletError):
        await node.digest(leaf=TAG.at(ONE))


async def test_every_leaf_is_pinned_each_asked_for_once(node: Node, upstream: Upstream) -> None:
    other = Reference.parse("docker.io/c/d:2")
    upstream.names[str(other)] = TWO
    plan: PlanNode = AugmentedImage(RegistryImage(TAG), ContainerConfig(), (RegistryImage(other), RegistryImage(TAG)))
    pinned = await node.pin(plan)
    assert [leaf.reference.digest for leaf in leaves(pinned.plan)] == [ONE, TWO, ONE]
    assert pinned.public
    assert sorted(asked for asked, _ in upstream.asked) == sorted([str(TAG), str(other)])
    del upstream.names[str(other)]
    clockless = Reference.parse("docker.io/c/d:3")
    with pytest.raises(ImageNotFound):
        await node.pin(AugmentedImage(RegistryImage(TAG), ContainerConfig(), (RegistryImage(clockless),)))


# -- who may know -----------------------------------------------------------------------------------------------------


async def test_what_is_private_is_pinned_for_its_reader_alone(node: Node, upstream: Upstream) -> None:
    upstream.readers = {ANN}
    pinned = await node.pinner.pin(RegistryImage(TAG), ANN)
    assert not pinned.public
    assert node.fresh(ANN)
    for other in (BOB, NOBODY):
        assert not node.fresh(other)
        with pytest.raises(AccessRefused):
            await node.digest(other)
        with pytest.raises(AccessRefused):
            await node.access.require(TAG.repository, other)
    await node.access.require(TAG.repository, ANN)


async def test_what_is_public_is_everyones_without_another_question(node: Node, upstream: Upstream) -> None:
    pinned = await node.pinner.pin(RegistryImage(TAG), ANN)
    assert pinned.public
    for other in (NOBODY, BOB):
        assert node.fresh(other)
        await node.access.require(TAG.repository, other)
    assert len(upstream.asked) == 1


async def test_an_image_that_turned_private_is_its_readers_and_no_longer_public(
    node: Node, upstream: Upstream, clock: Clock
) -> None:
    for leaf in (TAG, TAG.at(ONE)):
        await node.digest(leaf=leaf)
    upstream.readers = {ANN}
    clock.forward(TTL + 5)
    for leaf in (TAG, TAG.at(ONE)):
        pinned = await node.pinner.pin(RegistryImage(leaf), ANN)
        assert not pinned.public
        assert not node.fresh(NOBODY, leaf)
        fresh = node.pinner.fresh(RegistryImage(leaf), ANN)
        assert fresh is not None
        assert not fresh.public
        with pytest.raises(AccessRefused):
            await node.digest(NOBODY, leaf)


async def test_who_was_never_granted_anything_gets_nothing_from_a_silent_upstream(
    node: Node, upstream: Upstream
) -> None:
    upstream.readers = {ANN}
    await node.digest(ANN)
    upstream.error = UpstreamUnreachable("down")
    for other in (BOB, NOBODY):
        with pytest.raises(UpstreamError):
            await node.digest(other)
        with pytest.raises(UpstreamError):
            await node.access.require(TAG.repository, other)
    assert await node.digest(ANN) == ONE


async def test_nothing_known_is_no_access(node: Node, upstream: Upstream) -> None:
    with pytest.raises(AccessRefused, match="nothing says"):
        await node.access.require(TAG.repository, NOBODY)
    assert upstream.asked == []


# -- stale if error: the status table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("error", [*NO_ANSWERS, DECLINED, REFUSED, ImageNotFound("404")], ids=lambda e: e.message)
async def test_what_stands_in_by_status_and_holder(
    node: Node, upstream: Upstream, clock: Clock, error: WaveletError, public: bool
) -> None:
    """No answer: the identity keeps its own. 403: only what was public. 401 and 404: a no to the tag, always."""
    upstream.readers = None if public else {ANN}
    await node.digest(ANN)
    clock.forward(TTL + 5)
    upstream.error = error
    if isinstance(error, UpstreamError) or (public and error is DECLINED):
        assert await node.digest(ANN) == ONE
        await node.access.require(TAG.repository, ANN)
    else:
        with pytest.raises(type(error)):
            await node.digest(ANN)


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("error", [*NO_ANSWERS, DECLINED, REFUSED, ImageNotFound("404")], ids=lambda e: e.message)
async def test_what_access_stands_in_by_status_and_holder(
    node: Node, upstream: Upstream, clock: Clock, error: WaveletError, public: bool
) -> None:
    """As for tags, but a probe that is gone (404) from a public repository takes nothing away from its bytes."""
    upstream.readers = None if public else {ANN}
    await node.digest(ANN)
    clock.forward(TTL + 5)
    upstream.error = error
    if isinstance(error, UpstreamError) or (public and error is not REFUSED):
        await node.access.require(TAG.repository, ANN)
    else:
        with pytest.raises(type(error)):
            await node.access.require(TAG.repository, ANN)


@pytest.mark.parametrize("error", [*NO_ANSWERS, DECLINED], ids=lambda e: e.message)
async def test_what_stands_in_ends_with_the_grace_time(
    node: Node, upstream: Upstream, clock: Clock, error: WaveletError
) -> None:
    await node.digest()
    upstream.error = error
    clock.forward(GRACE - 5)
    assert await node.digest() == ONE
    clock.forward(100)
    for each in (NOBODY, ANN):
        with pytest.raises(type(error)):
            await node.digest(each)
        with pytest.raises(WaveletError):
            await node.access.require(TAG.repository, each)


async def test_a_no_is_remembered_when_the_upstream_is_silent_afterwards(
    node: Node, upstream: Upstream, clock: Clock
) -> None:
    upstream.readers = {ANN}
    await node.digest(ANN)
    clock.forward(TTL + 5)
    upstream.readers = set()
    with pytest.raises(AccessRefused):
        await node.digest(ANN)
    upstream.error = UpstreamUnreachable("down")
    with pytest.raises(WaveletError):
        await node.digest(ANN)
    with pytest.raises(WaveletError):
        await node.access.require(TAG.repository, ANN)


async def test_a_no_survives_a_restart(
    node: Node, start: Callable[..., Node], upstream: Upstream, clock: Clock
) -> None:
    await node.digest()
    clock.forward(TTL + 5)
    upstream.error = REFUSED
    with pytest.raises(AccessRefused):
        await node.digest()
    again = start()
    upstream.error = UpstreamUnreachable("down")
    with pytest.raises(WaveletError):
        await again.digest()
    with pytest.raises(WaveletError):
        await again.access.require(TAG.repository, NOBODY)


async def test_a_moved_tag_is_answered_with_its_newest_pin_when_the_upstream_is_silent(
    node: Node, upstream: Upstream, clock: Clock
) -> None:
    await node.digest()
    clock.forward(TTL + 5)
    upstream.readers, upstream.names = {ANN}, {str(TAG): TWO}
    assert await node.digest(ANN) == TWO
    clock.forward(TTL + 5)
    upstream.error = UpstreamUnreachable("down")
    assert await node.digest(ANN) == TWO


async def test_a_silent_upstream_is_left_in_peace_and_asked_again_later(
    node: Node, upstream: Upstream, clock: Clock
) -> None:
    await node.digest()
    clock.forward(TTL + 5)
    upstream.error, upstream.names = UpstreamUnreachable("down"), {str(TAG): TWO}
    for _ in range(10):
        assert await node.digest() == ONE
    assert len(upstream.asked) == 2
    upstream.error = None
    clock.forward(UpstreamUnreachable.negative_ttl + 1)
    assert await node.digest() == TWO


# -- aliases ----------------------------------------------------------------------------------------------------------

ALIAS = Alias(prefix="docker.io/biocontainers", instead="quay.io/biocontainers")
LEAF, MOVED = Reference.parse("biocontainers/fastqc:1"), Reference.parse("quay.io/biocontainers/fastqc:1")


async def test_what_is_not_found_is_looked_for_at_its_alias(start: Callable[..., Node], upstream: Upstream) -> None:
    node = start(ALIAS)
    upstream.names[str(MOVED)] = TWO
    pinned = await node.pinner.pin(RegistryImage(LEAF), NOBODY)
    assert pinned.plan == RegistryImage(MOVED.at(TWO))
    assert node.fresh(leaf=LEAF)
    upstream.names[str(LEAF)] = ONE
    assert len(upstream.asked) == 2


async def test_what_is_found_is_not_looked_for_elsewhere(start: Callable[..., Node], upstream: Upstream) -> None:
    node = start(ALIAS)
    upstream.names |= {str(LEAF): ONE, str(MOVED): TWO}
    assert await node.digest(leaf=LEAF) == ONE
    similar = Reference.parse("biocontainersx/fastqc:1")
    with pytest.raises(ImageNotFound) as caught:
        await node.digest(leaf=similar)
    assert "quay.io" not in caught.value.message


async def test_the_error_names_both_places(start: Callable[..., Node], upstream: Upstream) -> None:
    with pytest.raises(ImageNotFound, match=r"docker\.io/biocontainers/fastqc.*also looked.*quay\.io"):
        await start(ALIAS).digest(leaf=LEAF)


@pytest.mark.parametrize("first", [ImageNotFound("404"), REFUSED], ids=["404", "401"])
@pytest.mark.parametrize("second", [*NO_ANSWERS, DECLINED], ids=lambda e: e.message)
async def test_an_alias_that_does_not_answer_is_no_definite_no(
    start: Callable[..., Node], upstream: Upstream, clock: Clock, first: WaveletError, second: WaveletError
) -> None:
    node = start(ALIAS)
    upstream.errors[str(LEAF.repository)] = first
    upstream.names[str(MOVED)] = TWO
    await node.digest(leaf=LEAF)
    clock.forward(TTL + 5)
    upstream.errors[str(MOVED.repository)] = second
    assert await node.digest(leaf=LEAF) == TWO
    clock.forward(GRACE)
    with pytest.raises(type(second), match="also looked"):
        await node.digest(leaf=LEAF)


# -- clocks that were wrong -------------------------------------------------------------------------------------------

DAYS_400 = 400 * 86400.0


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_a_clock_noted_that_was_ahead_is_relied_on_no_more(
    start: Callable[..., Node], upstream: Upstream, clock: Clock, restarted: bool
) -> None:
    """Fault D2: 400 days ahead a tag was pinned; the clock was right again, the tag moved: the old digest for good."""
    node = start()
    clock.forward(DAYS_400)
    assert await node.digest() == ONE
    clock.forward(-DAYS_400)
    node = start() if restarted else node
    upstream.names[str(TAG)] = TWO
    assert not node.fresh()
    assert await node.digest() == TWO
    assert node.fresh()


async def test_a_grant_of_a_clock_that_was_ahead_opens_nothing(
    start: Callable[..., Node], upstream: Upstream, clock: Clock
) -> None:
    """Fault D2: grants by the same code: who may read no more read on."""
    node = start()
    clock.forward(DAYS_400)
    await node.digest()
    clock.forward(-DAYS_400)
    upstream.readers = set()
    with pytest.raises(AccessRefused):
        await node.access.require(TAG.repository, NOBODY)
    assert node.access.holders(TAG.repository, NOBODY) == []
    node.access.expire()
    node.pinner.expire()
    node = start()
    assert node.database.read("SELECT * FROM pins") == []
    assert node.database.read("SELECT * FROM grants") == []
