"""Journals: readable while they grow, and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from wavelet.resolve import events
from wavelet.resolve.events import SCHEMA, Journals
from wavelet.store.database import Database


def test_lines_are_readable_as_they_come_and_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    journals = Journals(database)
    assert journals.read("make a") is None
    line = journals.begin("make a")
    line("solving")
    line("two\nlines")
    text = journals.read("make a")
    assert text is not None
    assert [each.split(" s  ")[1] for each in text.splitlines()] == ["solving", "two", "lines"]
    journals.end("make a")
    database.close()
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    assert Journals(database).read("make a") == text
    database.close()


def test_another_attempt_begins_anew_and_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LINES_LIMIT", 3)
    database = Database(tmp_path / "node.db", SCHEMA, synchronous="NORMAL")
    journals = Journals(database)
    journals.begin("a")("first attempt")
    line = journals.begin("a")
    for number in range(10):
        line(f"{number}" * 10_000)
    text = journals.read("a")
    assert text is not None
    assert len(text.splitlines()) == 3
    assert len(text) < 3 * (events.LINE_LIMIT + 20)
    assert "first attempt" not in text
    database.close()
