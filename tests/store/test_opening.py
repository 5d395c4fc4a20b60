"""Databases that are found damaged: a cache is begun anew, what exists nowhere else is left, with what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.disks import mounted
from wavelet.errors import NoSpace, OurError
from wavelet.store import opening
from wavelet.store.database import Database
from wavelet.store.opening import open_cache, open_kept

SCHEMA = "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v BLOB);"


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_in_a_page(path: Path) -> None:
    os.truncate(path, 100)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def garbage_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(40_000))


def garbage_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 60)


def another(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (something TEXT)")
    connection.close()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (truncated, cut_in_a_page, garbage, garbage_pages, garbage_header, another, directory, pipe)
each_damage = pytest.mark.parametrize("damage", DAMAGES)


def filled(path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.execute(SCHEMA)
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((str(n), os.urandom(300)) for n in range(1000)))
    connection.commit()
    connection.close()
    return path


def keys(database: Database) -> int:
    return int(database.read("SELECT COUNT(*) FROM t")[0][0])


@each_damage
async def test_a_damaged_cache_is_set_aside_and_begun_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Fault G7: `node.db` truncated or garbage: "a defect: DatabaseError", and no start."""
    path = filled(tmp_path / "node.db")
    for _ in range(2):
        damage(path)
        database = open_cache(path, SCHEMA)
        assert keys(database) == 0
        await database.write([("INSERT INTO t VALUES ('a', 1)", ())])
        database.close()
        assert (tmp_path / "node.db.damaged").exists()
        path.unlink()
        filled(path)
    database = open_cache(path, SCHEMA)
    assert keys(database) == 1000
    database.close()


@each_damage
def test_what_exists_nowhere_else_is_left_with_the_remedy(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Fault G7: `records.db` with garbage pages: the daemon started, and answered 500."""
    path = filled(tmp_path / "records.db")
    damage(path)
    before = path.lstat()
    with pytest.raises(OurError, match=r"records\.db cannot be used.*damaged.*requests.*copy.*recover.*move it away"):
        open_kept(path, SCHEMA, "the requests")
    assert (path.lstat().st_ino, path.lstat().st_size) == (before.st_ino, before.st_size)


async def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "records.db").touch()
    database = open_kept(tmp_path / "records.db", SCHEMA, "the requests")
    assert keys(database) == 0
    database.close()


async def test_a_former_log_does_not_come_into_the_new_database(tmp_path: Path) -> None:
    path = filled(tmp_path / "node.db")
    former = open_cache(path, SCHEMA)
    await former.write([("INSERT INTO t VALUES ('in the log', 1)", ())])
    garbage(path)
    anew = open_cache(path, SCHEMA)
    assert keys(anew) == 0
    assert (tmp_path / "node.db.damaged-wal").exists()
    anew.close()
    former.close()


@pytest.mark.process
@pytest.mark.parametrize("opens", [open_cache, lambda path, schema: open_kept(path, schema, "the requests")])
def test_a_full_disk_is_said(tmp_path: Path, opens: Callable[[Path, str], Database]) -> None:
    """Fault G7: a start on a full tmpfs."""
    with mounted(tmp_path / "disk", "1m") as place:
        with pytest.raises(OSError), (place / "filler").open("wb") as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(NoSpace, match=r"disk of .* is full.*--state"):
            opens(place / "node.db", SCHEMA)


async def test_damage_that_is_seen_while_it_runs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault G7: pages that nothing had looked at yet; the answer was a defect."""
    path = filled(tmp_path / "node.db")
    garbage_pages(path)
    monkeypatch.setattr(opening, "CHECKED_WHOLE", 0)
    database = open_cache(path, SCHEMA)
    with pytest.raises(OurError, match=r"node\.db is damaged on disk.*start wavelet again"):
        database.read("SELECT SUM(LENGTH(v)) FROM t")
    with pytest.raises(OurError, match="damaged on disk"):
        await database.write([("DELETE FROM t", ())])
    database.close()
