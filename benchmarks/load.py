"""wrk as the load generator: one thread, so that it takes one core from every server alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.processes import LabError, run

_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What one run counted; latencies in milliseconds."""

    requests: int
    bytes: int
    seconds: float
    p50: float
    p99: float

    @property
    def requests_per_second(self) -> float:
        """Answers read to their end, a second."""
        return self.requests / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes read a second, those of answers that had not ended too."""
        return self.bytes / self.seconds


def load(
    url: str, *, clients: int = 1, seconds: float = 1.0, headers: Sequence[str] = (), requests: Path | None = None
) -> Load:
    """Ask `url` over and over by keep-alive connections, or send the lines of `requests` in turn (see wrk.lua).

    Raises:
        LabError: an answer was not 2xx, or none came.
    """
    command: list[str | Path] = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "20s", "-s", _SCRIPT]
    for header in headers:
        command += ["-H", header]
    printed = run([*command, url, "--", *([] if requests is None else [requests])]).stdout
    counted = json.loads(printed.splitlines()[-1])
    if counted["errors"] or not counted["bytes"]:
        raise LabError(f"wrk {url}\n{printed}")
    elapsed = counted["microseconds"] / 1e6
    return Load(counted["requests"], counted["bytes"], elapsed, counted["p50"] / 1000, counted["p99"] / 1000)
