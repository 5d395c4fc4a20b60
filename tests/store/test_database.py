"""The node's database: writes that wait share a commit, and a bad one is nobody else's."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavelet.store import database as module
from wavelet.store.database import Database

SCHEMA = "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER);"
INSERT = "INSERT INTO t VALUES (?, ?)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    yield made
    if made._thread.is_alive():
        made.close()


def keys(database: Database) -> list[str]:
    return [row[0] for row in database.read("SELECT k FROM t ORDER BY k")]


class Commits:
    """Counts commits, and holds the first one up until enough writes wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        commit = Database._commit

        def counted(database: Database, connection: sqlite3.Connection, group: list[module._Write]) -> None:
            self.sizes.append(len(group))
            commit(database, connection, group)

        monkeypatch.setattr(Database, "_commit", counted)


async def test_a_write_is_there_when_it_returns(database: Database) -> None:
    assert await database.write([(INSERT, ("a", 1)), (INSERT, ("b", 2))]) == 2
    assert await database.write([("UPDATE t SET v = 9", ())]) == 2
    assert await database.write([("DELETE FROM t WHERE k = 'zzz'", ())]) == 0
    assert database.read("SELECT v FROM t WHERE k = ?", "a") == [(9,)]


async def test_writers_that_wait_share_a_commit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = Commits(monkeypatch)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = [asyncio.create_task(database.write([(INSERT, (f"{n:03}", n))])) for n in range(200)]
    await asyncio.sleep(0.1)
    assert keys(database) == []
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(*waiting)
    assert len(keys(database)) == 200
    assert len(commits.sizes) <= 3


async def test_one_bad_write_is_its_writers_alone(database: Database) -> None:
    await database.write([(INSERT, ("a", 1))])
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.create_task(database.write([(INSERT, ("b", 1))]))
    await asyncio.sleep(0.05)  # the thread now waits for the lock, with this one; the next ones make a group
    good = asyncio.create_task(database.write([(INSERT, ("c", 1))]))
    bad = asyncio.create_task(database.write([(INSERT, ("d", 1)), (INSERT, ("a", 1))]))
    database.write_later(INSERT, "a", 2)
    last = asyncio.create_task(database.write([(INSERT, ("e", 1))]))
    await asyncio.sleep(0.05)
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(first, good, last)
    with pytest.raises(sqlite3.IntegrityError):
        await bad
    assert keys(database) == ["a", "b", "c", "e"]
    assert database.read("SELECT v FROM t WHERE k = 'a'") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (("INSERT INTO nowhere VALUES (1)", ()), sqlite3.OperationalError),
        ((INSERT, ("a",)), sqlite3.ProgrammingError),
        ((INSERT, ("a", 2**80)), OverflowError),
        ((INSERT, ("\ud800", 1)), UnicodeEncodeError),
        ((INSERT, (object(), 1)), sqlite3.Error),
    ],
)
async def test_a_write_that_fails_fails_for_its_writer_and_the_next_one_works(
    database: Database, statement: module.Statement, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await asyncio.wait_for(database.write([(INSERT, ("before", 1)), statement]), 5)
    database.write_later(statement[0], *statement[1])
    await asyncio.sleep(0.05)
    assert await asyncio.wait_for(database.write([(INSERT, ("after", 1))]), 5) == 1
    assert keys(database) == ["after"]


async def test_a_writer_that_goes_away_takes_nothing_back(database: Database) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(database.write([(INSERT, ("a", 1))]))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    other.execute("ROLLBACK")
    other.close()
    await database.write([(INSERT, ("b", 1))])
    assert keys(database) == ["a", "b"]


async def test_a_lock_that_is_not_given_back_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.05)
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    other = sqlite3.connect(tmp_path / "node.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await database.write([(INSERT, ("a", 1))])
    other.close()
    await database.write([(INSERT, ("b", 1))])
    assert keys(database) == ["b"]
    database.close()


async def test_closing_commits_what_waits(database: Database, tmp_path: Path) -> None:
    for number in range(2000):
        database.write_later(INSERT, f"{number:04}", number)
    database.close()
    again = Database(tmp_path / "node.db", SCHEMA, synchronous="FULL")
    assert len(keys(again)) == 2000
    again.close()
