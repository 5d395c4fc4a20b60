"""The memory of a daemon and of its workers while something goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.02
"""Seconds between two looks."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Memory:
    """`peak` is the greatest sum so far, in megabytes, and `largest` the most that one process has had."""

    peak: float = 0.0
    largest: float = 0.0


@contextmanager
def watched(leader: int) -> Iterator[Memory]:
    """Watch the memory of a process and of its session."""
    memory, ended = Memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            each = [_resident(path) / 1e6 for path in _session(leader)]
            memory.peak, memory.largest = max(memory.peak, sum(each)), max(memory.largest, *each, 0.0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()


def _session(leader: int) -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                yield path


def _resident(path: Path) -> int:
    try:
        return int((path / "statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
