"""The backend that settings choose has all that nodes have in common, and lets go of all of it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cluster.suite import KEY, LIFETIMES, Clock, decided_record
from wavelet.cluster.backend import ClusterBackend, open_backend
from wavelet.cluster.secrets import ExpiringLogin
from wavelet.cluster.shared_directory.backend import DirectoryBackend
from wavelet.cluster.single_node.backend import NodeBackend
from wavelet.config import Settings
from wavelet.errors import DirectoryUnavailable, WaveletError
from wavelet.kinds.table import FORMS
from wavelet.plan.tokens import Login


def settings_of(state: Path, **records: Any) -> Settings:
    return msgspec.convert({"state": str(state), "records": records}, Settings)


def opened(tmp_path: Path, **records: Any) -> ClusterBackend:
    (tmp_path / "state").mkdir(exist_ok=True)
    return open_backend(settings_of(tmp_path / "state", **records), FORMS)


@pytest.fixture(params=["a node by itself", "a shared directory"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return {} if request.param == "a node by itself" else {"directory": str(tmp_path / "shared")}


async def test_what_is_kept_is_there_after_a_new_start(tmp_path: Path, records: dict[str, str]) -> None:
    backend = opened(tmp_path, **records)
    token = await backend.records.put(decided_record(), {})
    await backend.claims.claim("lock", b"first")
    key = backend.key
    await backend.close()
    again = opened(tmp_path, **records)
    await again.check()
    stored = await again.records.get(token)
    assert stored is not None
    assert stored.record == decided_record()
    assert await again.claims.claimed("lock") == b"first"
    assert again.key == key
    await again.close()


async def test_it_leaves_no_thread_behind(tmp_path: Path, records: dict[str, str]) -> None:
    others = set(threading.enumerate())
    backend = opened(tmp_path, **records)
    await backend.records.put(decided_record(), {})
    await backend.claims.claim("lock", b"first")
    own = [thread for thread in set(threading.enumerate()) - others if thread.name.startswith(("records", "write"))]
    assert own
    await backend.close()
    for thread in own:
        thread.join(5)
        assert not thread.is_alive()


async def test_a_node_by_itself_has_one_database(tmp_path: Path) -> None:
    backend = opened(tmp_path)
    assert [path.name for path in (tmp_path / "state").glob("*.db")] == ["records.db"]
    with sqlite3.connect(tmp_path / "state" / "records.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {"records", "claims"} <= tables
    assert backend.secrets is None
    await backend.close()


async def test_a_shared_directory_has_nothing_in_the_state_directory(tmp_path: Path) -> None:
    backend = opened(tmp_path, directory=str(tmp_path / "shared"))
    await backend.records.put(decided_record(), {})
    assert list((tmp_path / "state").iterdir()) == []
    await backend.close()


@pytest.mark.parametrize("share", [True, False])
async def test_logins_are_shared_where_the_site_says_so(tmp_path: Path, share: bool) -> None:
    backend = opened(tmp_path, directory=str(tmp_path / "shared"), share_logins=share)
    assert (backend.secrets is not None) == share
    if backend.secrets is not None:
        login = ExpiringLogin(Login("ann", "s3cret"), Clock().now)
        await backend.secrets.put(1001, "quay.io", login)
        assert (tmp_path / "shared" / "logins").is_dir()
    await backend.close()


async def test_all_that_has_expired_goes_at_once(tmp_path: Path) -> None:
    clock = Clock()
    both = (
        NodeBackend(tmp_path / "records.db", KEY, FORMS, LIFETIMES, clock),
        DirectoryBackend(tmp_path / "shared", KEY, FORMS, LIFETIMES, share_logins=True, clock=clock),
    )
    for backend in both:
        await backend.records.put(decided_record(), {})
        await backend.claims.claim("lock", b"first")
    assert both[1].secrets is not None
    await both[1].secrets.put(1001, "quay.io", ExpiringLogin(Login("ann", "s3cret"), clock.now + 60))
    clock.now += 3 * 365 * 86400
    assert [await backend.expire() for backend in both] == [2, 3]
    for backend in both:
        await backend.close()


async def test_what_cannot_be_removed_keeps_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    backend = DirectoryBackend(tmp_path, KEY, FORMS, LIFETIMES, share_logins=False, clock=clock)

    async def fail() -> int:
        raise DirectoryUnavailable("a record cannot be removed")

    monkeypatch.setattr(backend.records, "expire", fail)
    await backend.claims.claim("lock", b"first")
    clock.now += 3 * 365 * 86400
    with pytest.raises(WaveletError, match="a record cannot be removed"):
        await backend.expire()
    assert await backend.claims.claimed("lock") is None
    await backend.close()


async def test_another_lifetime_counts_once_it_is_applied(tmp_path: Path, records: dict[str, str]) -> None:
    backend = opened(tmp_path, **records)
    token = await backend.records.put(decided_record(), {})
    apply = backend.configure(settings_of(tmp_path / "state", lifetime=0.01, **records))
    await asyncio.sleep(0.1)
    assert await backend.expire() == 0
    assert await backend.records.get(token) is not None
    apply()
    assert await backend.expire() == 1
    await backend.close()
