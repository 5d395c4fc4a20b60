import contextlib
import sqlite3
import stat
from pathlib import Path

import pytest

from cluster.bindings_suite import BindingsSuite
from cluster.crash import kill_in_a_loop
from cluster.frozen_suite import FrozenSuite
from cluster.keepers import OpenedSqliteRecords
from cluster.suite import KEY, LIFETIMES, Clock, RecordsSuite, image_record, layer_record
from wavelet.cluster.records import Lifetimes
from wavelet.config import ConfigError
from wavelet.errors import OurError
from wavelet.kinds.table import FORMS
from wavelet.store import filesystem


class TestSqliteRecords(RecordsSuite):
    @staticmethod
    def make(path: Path, key: bytes, lifetimes: Lifetimes, clock: Clock) -> OpenedSqliteRecords:
        return OpenedSqliteRecords(path / "state" / "records.sqlite", key, FORMS, lifetimes, clock)


class TestFrozenInSqlite(FrozenSuite):
    make = staticmethod(TestSqliteRecords.make)


class TestSqliteBindings(BindingsSuite):
    make = staticmethod(TestSqliteRecords.make)

    def bindings(self, path: Path) -> list[str]:
        with contextlib.closing(sqlite3.connect(path / "state" / "records.sqlite")) as connection:
            return [token for (token,) in connection.execute("SELECT token FROM bindings")]

    def change(self, path: Path, token: str, content: bytes) -> None:
        change(path / "state" / "records.sqlite", "INSERT OR REPLACE INTO bindings VALUES (?, ?)", token, content)


def change(path: Path, statement: str, *arguments: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, arguments)
    connection.close()


async def test_a_damaged_record_is_refused_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    records = OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES)
    record, digest = layer_record(b"bytes")
    token = await records.put(record, {digest: b"bytes"})
    for damage in (b"", b"anonymous", b"\xff\xfe", b"anonymous\n{", b"anonymous\n" + b"[" * 5000, b"uid:0\n[]"):
        change(path, "UPDATE records SET record = ?", damage)
        change(path, "UPDATE inline_layers SET content = ?", damage)
        assert await records.get(token) is None
        assert await records.inline(token, digest) is None
        assert await records.put(record, {digest: b"bytes"}) == token
        await records.close()
        records = OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES)
        change(path, "UPDATE records SET used = used")
        assert await records.inline(token, digest) == b"bytes"
    assert (await records.get(token)) is not None
    await records.close()


async def test_a_forged_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    records = OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES)
    token = await records.put(image_record(), {})
    change(path, "UPDATE records SET record = ?", image_record("evil:1").encode())
    assert await records.get(token) is None
    await records.close()


async def test_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    records = OpenedSqliteRecords(tmp_path / "state" / "records.sqlite", KEY, FORMS, LIFETIMES)
    await records.put(image_record(), {})
    for path in (tmp_path / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    await records.close()


@pytest.mark.process
async def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    assert await kill_in_a_loop(OpenedSqliteRecords, tmp_path / "records.sqlite", writers=1) > 8


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "mounts")
    with pytest.raises(ConfigError, match="local disk"):
        OpenedSqliteRecords(tmp_path / "records.sqlite", KEY, FORMS, LIFETIMES)


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(b"something else entirely, and long enough to have a header of its own" * 100)
    with pytest.raises(OurError, match=r"records\.sqlite cannot be used as a database.*move it away"):
        OpenedSqliteRecords(path, KEY, FORMS, LIFETIMES)
