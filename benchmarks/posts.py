"""Container requests that are timed: one, and two kinds of them in turn."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from lab.processes import LabError

ROUNDS, REQUESTS, WARM = 11, 100, 30
SECONDS = 30.0

Timed = Callable[[int], float]
"""Makes the request with a number, and returns the milliseconds that it took."""


def post(connection: http.client.HTTPConnection, body: dict[str, Any]) -> float:
    """Send a request; return the milliseconds until its answer was there."""
    data = json.dumps(body).encode()
    started = time.perf_counter()
    connection.request("POST", "/v1alpha2/container", data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    taken = time.perf_counter() - started
    if answer.status != 200:
        raise LabError(f"POST answered {answer.status}: {content.decode('utf-8', 'replace')}")
    return 1000 * taken


def in_turn(ours: Timed, theirs: Timed) -> tuple[list[float], list[float]]:
    """Return the median of each round of both, after some that do not count."""
    for number in range(WARM):
        theirs(-1 - number)
        ours(-1 - number)
    medians: dict[Timed, list[float]] = {ours: [], theirs: []}
    for turn in range(ROUNDS):
        taken: dict[Timed, list[float]] = {ours: [], theirs: []}
        for each in range(REQUESTS):
            for timed in (ours, theirs) if each % 2 == 0 else (theirs, ours):
                taken[timed].append(timed(turn * REQUESTS + each))
        for timed, times in taken.items():
            medians[timed].append(statistics.median(times))
    return medians[ours], medians[theirs]
