"""Members of a set for some seconds: they leave by themselves, by hand, and where there are too many."""

from __future__ import annotations

import pytest

from wavelet.upstream import retry
from wavelet.upstream.retry import ExpiringSet


def test_members_leave_in_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    members: ExpiringSet[str] = ExpiringSet(2)
    members.add("a", 10)
    members.add("b", 20)
    now[0] = 109.0
    assert "a" in members and "b" in members and "c" not in members
    members.add("a", 10)
    now[0] = 115.0
    assert "a" in members, "added again, it stays longer"
    now[0] = 120.0
    assert "b" not in members
    members.discard("a")
    members.discard("never")
    assert "a" not in members


def test_they_are_bounded() -> None:
    members: ExpiringSet[int] = ExpiringSet(2)
    for each in range(3):
        members.add(each, 60)
    assert [each in members for each in range(3)] == [False, True, True]
    members.clear()
    assert 2 not in members
