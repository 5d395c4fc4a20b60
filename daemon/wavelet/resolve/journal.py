"""The journals of solving and making: lines that can be read while it goes on, and afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from wavelet.plan.canonical import key as key_of
from wavelet.plan.node import Node
from wavelet.store.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS journals (key TEXT PRIMARY KEY, text TEXT, at REAL) WITHOUT ROWID;
"""

LINES_LIMIT = 5_000
"""Lines of one journal; what comes then is left out."""

LINE_LIMIT = 4_000
"""Characters of one line."""

HELD = 512
"""Journals in memory."""

LIFETIME = 90 * 86400.0
"""Seconds for which a journal is kept."""


def solve_key(asked: Node) -> str:
    """Return the key of the journal of a solve."""
    return f"solve {key_of(asked)}"


def make_key(key: str) -> str:
    """Return the key of the journal of the making of a pinned plan with `key`."""
    return f"make {key}"


@dataclass(slots=True)
class _Journal:
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        elapsed = time.monotonic() - self.began
        for line in text.splitlines() or [""]:
            if len(self.lines) < LINES_LIMIT:
                self.lines.append(f"{elapsed:8.2f} s  {line[:LINE_LIMIT]}\n")


class Journals:
    """The journals of one node, by the key of what was worked on; each is of the latest attempt."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: LRUCache[str, _Journal] = LRUCache(HELD)

    def begin(self, key: str) -> Callable[[str], None]:
        """Begin a journal anew and return what adds lines to it."""
        journal = self._held[key] = _Journal()
        return journal.add

    def lines(self, key: str) -> Sequence[str]:
        """Return the lines of a journal that has just begun; there are more of them as it goes on."""
        return self._held[key].lines

    def end(self, key: str) -> None:
        """Write a journal down: nothing is added any more."""
        journal = self._held.get(key)
        if journal is not None:
            row = (key, "".join(journal.lines), time.time())
            self._database.write_later("INSERT OR REPLACE INTO journals VALUES (?, ?, ?)", *row)

    def read(self, key: str) -> str | None:
        """Return what there is so far."""
        journal = self._held.get(key)
        if journal is not None:
            return "".join(journal.lines)
        rows = self._database.read("SELECT text FROM journals WHERE key = ?", key)
        return rows[0][0] if rows else None

    def refer(self, key: str, others: list[str]) -> None:
        """Note which journals go on where another one ends."""
        self._database.write_later(
            "INSERT OR REPLACE INTO journals VALUES (?, ?, ?)", f"refers {key}", "\n".join(others), time.time()
        )

    def referred(self, key: str) -> list[str]:
        """Return what `refer` noted last."""
        rows = self._database.read("SELECT text FROM journals WHERE key = ?", f"refers {key}")
        return rows[0][0].split("\n") if rows else []

    def expire(self) -> None:
        """Forget journals that are past their lifetime."""
        now = time.time()
        self._database.write_later("DELETE FROM journals WHERE at NOT BETWEEN ? AND ?", now - LIFETIME, now)
