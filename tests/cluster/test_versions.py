"""Two versions share a directory: what the one before has kept, and what it makes of what a later one keeps."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster import golden, version_1
from cluster.keepers import OpenedSqliteRecords
from cluster.suite import KEY, LIFETIMES, Clock, image_record
from wavelet.cluster.shared_directory.claims import DirectoryClaims
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.config import Settings
from wavelet.errors import NewerForm
from wavelet.image.reference import Digest
from wavelet.kinds.conda.locks import shared_locks
from wavelet.kinds.conda.locks.shared_locks import Locks
from wavelet.kinds.conda.model.node import CondaEnvironment, LockedEnvironment
from wavelet.kinds.table import FORMS
from wavelet.plan import canonical
from wavelet.store.database import Database

GOLDEN = golden.load(1)
NAMES = sorted(GOLDEN.tokens)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The directory of version 1."""
    root = tmp_path / "shared"
    GOLDEN.write(root)
    return root


@pytest.fixture
async def records(shared: Path) -> AsyncIterator[DirectoryRecords]:
    opened = DirectoryRecords(shared, KEY, FORMS, LIFETIMES, Clock())
    yield opened
    await opened.close()


@pytest.fixture
async def claims(shared: Path) -> AsyncIterator[DirectoryClaims]:
    opened = DirectoryClaims(shared, KEY, Clock())
    yield opened
    await opened.close()


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
async def test_what_version_1_has_kept_is_there_under_its_names(
    records: DirectoryRecords, shared: Path, name: str
) -> None:
    token = GOLDEN.tokens[name]
    stored = await records.get(token, patient=False)
    assert stored is not None
    assert stored.record.token(KEY) == token
    for digest, content in GOLDEN.inline(name).items():
        assert await records.inline(token, digest) == content
    before = contents(shared)
    assert await records.put(stored.record, GOLDEN.inline(name)) == token
    assert contents(shared) == before


@pytest.mark.parametrize("name", NAMES)
async def test_version_1_reads_what_this_version_keeps(tmp_path: Path, name: str) -> None:
    record, token = GOLDEN.record(name), GOLDEN.tokens[name]
    opened = DirectoryRecords(tmp_path / "new", KEY, FORMS, LIFETIMES, Clock())
    assert await opened.put(record, GOLDEN.inline(name)) == token
    await opened.close()
    assert version_1.record(tmp_path / "new", token, KEY) == str(record.principal)
    assert {name: GOLDEN.files[name].encode() for name in contents(tmp_path / "new")} == contents(tmp_path / "new")


def asked_and_locked() -> tuple[CondaEnvironment, LockedEnvironment]:
    asked, locked = GOLDEN.record("packages").plan, GOLDEN.record("a lock").plan
    assert isinstance(asked, CondaEnvironment)
    assert isinstance(locked, LockedEnvironment)
    return asked, locked


@pytest.fixture
def known(claims: DirectoryClaims, tmp_path: Path) -> Locks:
    """The locks of a node that has none of its own."""
    return Locks(
        Database(tmp_path / "node.db", shared_locks.SCHEMA, synchronous="NORMAL"), claims, FORMS, Settings(), Clock()
    )


async def test_locks_and_what_scripts_made_are_shared_with_version_1(
    known: Locks, claims: DirectoryClaims, shared: Path, tmp_path: Path
) -> None:
    asked, locked = asked_and_locked()
    before = contents(shared)
    assert await known.shared(asked) == locked
    assert await known.was_built(locked)
    made = b"what a script made"
    assert await claims.fetch(Digest.of(made), tmp_path / "blob") == len(made)
    assert contents(shared) == before
    await claims.claim("a/key", b"of today")
    assert version_1.claim(shared, "a/key", KEY) == b"of today"


def newer(data: bytes) -> bytes:
    """The same in a form that a later version may have."""
    return data.replace(b'"version":1', b'"version":3').replace(b'{"plan":', b'{"hints":{"a":1},"plan":')


async def test_a_request_of_a_newer_version_is_refused_with_a_sentence_and_left(
    records: DirectoryRecords, claims: DirectoryClaims, shared: Path
) -> None:
    token = "ab" * 16
    later = {
        f"ab/{token}": b"1800000000.0\nanonymous\n" + newer(canonical.encode(image_record().plan)),
        f"ab/{token}.plan-2": b"what else there is of it",
        "logins-2/of/1000": b"sealed",
        "claims-2/00/x": b"a claim",
    }
    for name, content in later.items():
        path = shared / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (Clock().now - 20 * 86400, Clock().now - 20 * 86400))
    before = contents(shared)
    with pytest.raises(NewerForm, match="newer wavelet"):
        await records.get(token)
    assert await records.get(token, patient=False) is None
    assert version_1.record(shared, token, KEY) is None
    await records.touch(token)
    assert await records.expire() == 0
    assert await claims.expire() == 0
    assert contents(shared) == before


async def test_a_lock_of_a_newer_version_stays_and_this_node_has_its_own(
    known: Locks, claims: DirectoryClaims, shared: Path
) -> None:
    asked, locked = asked_and_locked()
    key = f"conda-lock/{Digest.of(canonical.canonical(asked)).hex}"
    said = newer(canonical.encode(locked))
    await claims.claim(key, said, replace=True)
    assert await known.keep(asked, locked) == locked
    assert await claims.claimed(key) == said
    assert version_1.claim(shared, key, KEY) == said


async def test_a_database_that_a_newer_version_has_used(tmp_path: Path) -> None:
    opened = OpenedSqliteRecords(tmp_path / "records.db", KEY, FORMS, LIFETIMES)
    token = await opened.put(image_record(), {})
    await opened.close()
    database = Database(tmp_path / "records.db", "", synchronous="FULL")
    body = newer(image_record().encode())
    await database.write([("UPDATE records SET record = ?, used = ?", (body, time.time()))])
    database.close()
    opened = OpenedSqliteRecords(tmp_path / "records.db", KEY, FORMS, LIFETIMES)
    with pytest.raises(NewerForm):
        await opened.get(token)
    assert await opened.get(token, patient=False) is None
    await opened.close()
