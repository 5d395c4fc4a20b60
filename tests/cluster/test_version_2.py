"""What version 0.2.0 has kept is read under its names for ever; and the version before it reads on what was its own."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import golden, version_1
from cluster.keepers import OpenedSqliteRecords
from cluster.make_version_2 import pin_of
from cluster.suite import KEY, LIFETIME, LIFETIMES, Clock
from wavelet.cluster.records import Record, authenticate
from wavelet.cluster.shared_directory import records as directory
from wavelet.cluster.shared_directory.records import DirectoryRecords
from wavelet.kinds.table import FORMS
from wavelet.plan.tokens import well_formed

BEFORE, GOLDEN = golden.load(1), golden.load(2)
NAMES = sorted(GOLDEN.tokens)
OF_VERSION_1 = sorted(set(GOLDEN.tokens.values()) & set(BEFORE.tokens.values()))
OF_VERSION_2 = sorted(set(GOLDEN.tokens.values()) - set(BEFORE.tokens.values()))


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_AGAIN", ())


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    GOLDEN.write(tmp_path / "shared")
    return tmp_path / "shared"


@pytest.fixture
async def records(shared: Path) -> AsyncIterator[DirectoryRecords]:
    opened = DirectoryRecords(shared, KEY, FORMS, LIFETIMES, Clock())
    yield opened
    await opened.close()


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_there_is_each_kind_of_record() -> None:
    kept = [GOLDEN.record(name) for name in NAMES]
    assert len(OF_VERSION_1) == len(BEFORE.tokens)
    assert sum(record.pin is not None for record in kept) > 8
    assert sum(bool(record.nonce) for record in kept) > 8
    assert sum(well_formed(record.first) for record in kept) > 6
    assert sum(path.endswith(".pin") for path in GOLDEN.files) > 8


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_there_under_its_name_with_its_pin(records: DirectoryRecords, shared: Path, name: str) -> None:
    token = GOLDEN.tokens[name]
    stored = await records.get(token)
    assert stored is not None
    assert stored.record == GOLDEN.record(name)
    assert stored.record.token(KEY) == token
    assert (stored.pin.name if stored.pin else None) == GOLDEN.pins.get(name)
    assert await records.put(stored.record, GOLDEN.inline(name)) == token
    for digest, content in GOLDEN.inline(name).items():
        assert await records.inline(token, digest) == content
    if stored.pin is not None:
        assert await records.bind(token, pin_of(stored.record, "another")) == stored.pin
    assert contents(shared) == GOLDEN.files


async def test_it_is_written_as_it_was_then(tmp_path: Path) -> None:
    """Older nodes of a cluster read what newer ones keep: another form needs another number."""
    opened = DirectoryRecords(tmp_path, KEY, FORMS, LIFETIMES, Clock())
    for name in NAMES:
        record = GOLDEN.record(name)
        token = await opened.put(record, GOLDEN.inline(name))
        if name in GOLDEN.pins and record.pin is None:
            pins = [pin_of(record, content) for content in ("today", "tomorrow")]
            await opened.bind(token, next(pin for pin in pins if pin.name == GOLDEN.pins[name]))
    await opened.close()
    assert contents(tmp_path) == GOLDEN.files


# -- going back to the version before ---------------------------------------------------------------------------------


@pytest.mark.parametrize("token", OF_VERSION_2)
def test_version_1_refuses_what_it_cannot_read_with_its_sentence(shared: Path, token: str) -> None:
    data = (shared / token[:2] / token).read_bytes().partition(b"\n")[2]
    assert version_1.record(shared, token, KEY) is None
    assert version_1.refusal(data).startswith("it was made by a newer wavelet (form 2; this one reads up to form 1)")
    assert b'"needs":"0.2.0"' in data  # later versions say this instead


async def test_version_1_reads_its_own_in_a_directory_that_this_version_has_used(
    records: DirectoryRecords, shared: Path
) -> None:
    for token in OF_VERSION_1:
        stored = await records.get(token)
        assert stored is not None
        await records.bind(token, pin_of(stored.record, "today"))
    before = contents(shared)
    for name, token in BEFORE.tokens.items():
        assert version_1.record(shared, token, KEY) == str(BEFORE.record(name).principal)
    assert version_1.expire(shared, Clock().now + LIFETIME - 1, LIFETIME) == 0
    assert contents(shared) == before


async def test_version_1_evicts_and_expires_what_it_does_not_know(records: DirectoryRecords, shared: Path) -> None:
    token = BEFORE.tokens["packages"]
    assert (shared / token[:2] / f"{token}.pin").exists()
    version_1.evict(shared, token)
    assert not list(shared.glob(f"*/{token}*"))
    undecided = GOLDEN.tokens["an image, undecided"]
    os.utime(shared / undecided[:2] / undecided, (0, 0))
    assert version_1.expire(shared, Clock().now + LIFETIME - 1, LIFETIME) == 1
    assert not list(shared.glob(f"*/{undecided}*"))
    assert await records.get(undecided) is None
    assert await records.get(GOLDEN.tokens["packages, undecided"]) is not None


async def test_version_1_reads_its_own_in_a_database_that_this_version_has_used(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    opened = OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES, Clock())
    for name in NAMES:
        record = GOLDEN.record(name)
        token = await opened.put(record, GOLDEN.inline(name))
        await opened.bind(token, pin_of(record, "today"))
    await opened.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = dict(connection.execute("SELECT token, record FROM records").fetchall())
        layers = connection.execute("SELECT token FROM inline_layers").fetchall()
        connection.execute("INSERT INTO records VALUES (?, ?, ?, ?)", ("0" * 32, b"", 0.0, 0.0))
    assert len(layers) > 1
    for name, token in BEFORE.tokens.items():
        assert version_1.authentic(rows[token], token, KEY) == str(BEFORE.record(name).principal)
        assert rows[token] == BEFORE.record(name).encode()
    for token in OF_VERSION_2:
        assert version_1.authentic(rows[token], token, KEY) is None
        assert version_1.refusal(rows[token])


async def test_a_database_of_version_1_is_opened_and_its_names_are_bound(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE records (token TEXT PRIMARY KEY, record BLOB, created REAL, used REAL)")
        for name, token in BEFORE.tokens.items():
            row = (token, BEFORE.record(name).encode(), Clock().now, Clock().now)
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?)", row)
        connection.commit()
    opened = OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES, Clock())
    for name, token in BEFORE.tokens.items():
        record = BEFORE.record(name)
        stored = await opened.get(token)
        assert stored is not None
        assert (stored.record, stored.pin) == (record, None)
        pin = pin_of(record, "today")
        assert await opened.bind(token, pin) == pin
        assert await opened.bind(token, pin_of(record, "tomorrow")) == pin
    await opened.close()


def test_a_name_of_version_1_is_another_than_those_of_this_version() -> None:
    record = BEFORE.record("an image")
    names = {each.token(KEY) for each in (record, replace(record, pin=pin_of(record, "x")), replace(record, nonce="1"))}
    assert len(names) == 3
    assert authenticate(record.token(KEY), record.encode(), KEY, FORMS) == record
    assert isinstance(record, Record)
