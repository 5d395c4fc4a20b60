"""Seconds from the start of the process until `/readyz` answers 200 (asked every 20 ms), with an empty state directory;
seven starts.
"""

from __future__ import annotations

import time

from field import Field
from report import Row, bounded

from lab.daemon import Daemon

ROUNDS = 7


def measure(field: Field) -> list[Row]:
    """Return the time until ready."""
    seconds = []
    for _ in range(ROUNDS):
        daemon = Daemon(field.fresh("ready"))
        started = time.monotonic()
        daemon.start()
        seconds.append(time.monotonic() - started)
        daemon.stop()
    return [bounded("process start to ready", seconds, "s", 1.0)]
