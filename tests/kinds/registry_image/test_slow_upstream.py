"""An upstream that takes its time: earlier answers stand in meanwhile, and its late word still counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from wavelet.config import Settings
from wavelet.config.settings import Upstream
from wavelet.errors import AccessRefused
from wavelet.image.image import OCI_MANIFEST
from wavelet.image.reference import Digest, Reference
from wavelet.kinds.registry_image import kind
from wavelet.kinds.registry_image.kind import Pinner
from wavelet.kinds.registry_image.node import RegistryImage
from wavelet.plan.node import source_digest
from wavelet.plan.tokens import Identity
from wavelet.store.database import Database
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.grants import SCHEMA, Grants
from wavelet.upstream.manifests import Found

ANN, BOB = Identity(1001), Identity(1002)
LEAF = Reference.parse("quay.io/a/b:1")
OLD, NEW = Digest.of(b"old"), Digest.of(b"new")


class Slow:
    """A private registry that answers when the test lets it."""

    def __init__(self) -> None:
        self.digest = OLD
        self.refuses = False
        self.logins = ""
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def head(self, reference: Reference, identity: Identity) -> Found:
        refuses = self.refuses
        await self.go_on.wait()
        if refuses:
            raise AccessRefused("401")
        return Found(reference.digest or self.digest, OCI_MANIFEST, 5, Granted(public=False, by="test"))

    async def logins_version(self, identity: Identity) -> str:
        return self.logins


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def pins(tmp_path: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pinner, Grants]]:
    monkeypatch.setattr("wavelet.upstream.grants.STALE_WAIT", 0.02)
    database = Database(tmp_path / "node.db", kind.SCHEMA + SCHEMA, synchronous="NORMAL")
    settings = Settings(upstream=Upstream(access_ttl=0.05, tag_ttl=0.05, grace=1000, aliases=()))
    grants = Grants(database, slow, settings)
    yield Pinner(database, grants, settings), grants
    database.close()


async def pinned(pinner: Pinner) -> Digest:
    return source_digest((await pinner.pin(RegistryImage(LEAF), ANN)).plan)


async def age(slow: Slow, grants: Grants) -> None:
    """Let what is known become old, and the upstream slow."""
    await asyncio.sleep(0.06)
    slow.go_on.clear()
    assert not grants.holders(LEAF.repository, ANN)


async def test_the_earlier_answer_stands_in_and_the_late_one_renews_it(pins: tuple[Pinner, Grants], slow: Slow) -> None:
    pinner, grants = pins
    assert await pinned(pinner) == OLD
    await age(slow, grants)
    slow.digest = NEW
    began = time.monotonic()
    assert await pinned(pinner) == OLD
    assert time.monotonic() - began < 5
    slow.go_on.set()
    await asyncio.sleep(0.02)
    assert await pinned(pinner) == NEW


async def test_a_late_no_is_a_no(pins: tuple[Pinner, Grants], slow: Slow) -> None:
    pinner, grants = pins
    await pinned(pinner)
    await age(slow, grants)
    slow.refuses = True
    assert await pinned(pinner) == OLD
    slow.go_on.set()
    await asyncio.sleep(0.02)
    with pytest.raises(AccessRefused):
        await pinned(pinner)


async def test_a_late_no_to_a_question_of_access_is_a_no(pins: tuple[Pinner, Grants], slow: Slow) -> None:
    pinner, grants = pins
    await pinned(pinner)
    await age(slow, grants)
    slow.refuses = True
    await grants.require(LEAF.repository, ANN)
    slow.go_on.set()
    await asyncio.sleep(0.02)
    with pytest.raises(AccessRefused):
        await grants.require(LEAF.repository, ANN)


@pytest.mark.parametrize("what", ["a tag", "access"])
async def test_who_has_logged_in_is_not_told_what_was_said_to_an_earlier_login(
    pins: tuple[Pinner, Grants], slow: Slow, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pinner, grants = pins
    await pinned(pinner)
    await age(slow, grants)
    monkeypatch.setattr("wavelet.upstream.grants.STALE_WAIT", 60)
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "a tag": lambda: pinner.pin(RegistryImage(LEAF), BOB),
        "access": lambda: grants.require(LEAF.repository, BOB),
    }
    slow.refuses = True
    refused = asyncio.ensure_future(asks[what]())
    await asyncio.sleep(0.01)
    slow.refuses, slow.logins = False, "another"
    granted = asyncio.ensure_future(asks[what]())
    await asyncio.sleep(0.01)
    slow.go_on.set()
    with pytest.raises(AccessRefused):
        await refused
    await granted
