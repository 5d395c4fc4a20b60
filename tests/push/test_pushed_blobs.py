"""The memory of what was pushed where: it outlives a restart, and is each one's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavelet.image.reference import Digest, Repository
from wavelet.plan.tokens import Identity
from wavelet.push.pushed_blobs import SCHEMA, UNUSED_LIFETIME, PushedBlobs
from wavelet.store.database import Database

ANN, BOB = Identity(uid=1), Identity(uid=2)
FIRST, SECOND, ELSEWHERE = (
    Repository("quay.io", "a/one"),
    Repository("quay.io", "a/two"),
    Repository("ghcr.io", "a/two"),
)
DIGEST = Digest.of(b"a layer")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    yield opened
    opened.close()


async def test_another_repository_of_the_registry_is_known(database: Database) -> None:
    pushed = PushedBlobs(database)
    assert pushed.elsewhere(SECOND, DIGEST, ANN) == []
    pushed.add(FIRST, DIGEST, ANN)
    await database.write([])
    pushed = PushedBlobs(database)
    assert pushed.elsewhere(SECOND, DIGEST, ANN) == [FIRST]
    assert pushed.elsewhere(FIRST, DIGEST, ANN) == [], "it is there itself"
    assert pushed.elsewhere(ELSEWHERE, DIGEST, ANN) == [], "another registry has nothing of it"
    assert pushed.elsewhere(SECOND, DIGEST, BOB) == [], "nobody hears of others' repositories"
    pushed.add(SECOND, DIGEST, ANN)
    await database.write([])
    assert pushed.elsewhere(FIRST, DIGEST, ANN) == [SECOND]


@pytest.mark.parametrize("ago", [UNUSED_LIFETIME + 60, -3600.0])
async def test_what_is_old_or_of_a_wrong_clock_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch, ago: float
) -> None:
    pushed = PushedBlobs(database)
    with monkeypatch.context() as patch:
        then = time.time() - ago
        patch.setattr(time, "time", lambda: then)
        pushed.add(FIRST, DIGEST, ANN)
    pushed.expire()
    await database.write([])
    assert pushed.elsewhere(SECOND, DIGEST, ANN) == []
