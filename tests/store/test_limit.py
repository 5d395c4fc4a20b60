"""The most bytes of blobs: as it is said, or a share of the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.store.opened import Opened

from wavelet.config import Settings
from wavelet.config.settings import Store
from wavelet.store import limit
from wavelet.store.limit import limit_of


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the disk has free; the test's to change."""
    disk = SimpleNamespace(free=10**10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: disk)
    monkeypatch.setattr(limit, "filesystem_type", lambda path: "ext4")
    return disk


def test_a_share_of_the_disk_is_the_limit_whatever_is_held_already(
    free: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert limit_of("", tmp_path, 0) == 2 * 10**9
    assert limit_of("", tmp_path, 10**10) == 4 * 10**9
    assert limit_of("", tmp_path, 10**13) == 50 * 10**9
    assert limit_of("2GB", tmp_path, 10**13) == 2 * 10**9
    monkeypatch.setattr(limit, "filesystem_type", lambda path: "tmpfs")
    assert limit_of("", tmp_path, 0) == 5 * 10**8


async def test_a_limit_that_follows_the_disk_stays_until_the_setting_changes(
    free: SimpleNamespace, open_store: Callable[..., Opened]
) -> None:
    store = open_store()
    store.configure(Settings())()
    assert store.limit == 2 * 10**9
    free.free = 10**9
    store.configure(Settings())()
    assert store.limit == 2 * 10**9
    prepared = store.configure(Settings(store=Store(limit="3GB")))
    assert store.limit == 2 * 10**9
    prepared()
    assert store.limit == 3 * 10**9
    store.configure(Settings())()
    assert store.limit == 2 * 10**8
