"""Milliseconds from a POST to its answer, frozen without a repository beside one that is not, of the same image, which
is pinned already, with a small inline layer: the same request again and again, and requests that were never made.
One keep-alive connection, a hundred requests of each kind in turn a round, eleven rounds; a round's figure is its
median.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from field import Field
from report import Row, against

from lab import images, nextflow
from lab.processes import LabError

ROUNDS, REQUESTS, WARM = 11, 100, 30
MARK = 1.2
SECONDS = 30.0

Ask = Callable[[bool, int], dict[str, Any]]
"""Returns the request with a number, frozen or not."""


def measure(field: Field) -> list[Row]:
    """Return the medians of both kinds."""
    script = images.layer({"usr/local/bin/tool": b"#!/bin/sh\n"}, executable=["usr/local/bin/tool"]).in_request()
    image = f"{field.registry.host}/{field.REPOSITORY}:{field.TAG}"

    def known(freeze: bool, _: int) -> dict[str, Any]:
        return nextflow.body(containerImage=image, freeze=freeze, config={"layers": [script]})

    def new(freeze: bool, number: int) -> dict[str, Any]:
        config = {"layers": [script], "env": [f"N={number}", f"FROZEN={freeze}"]}
        return nextflow.body(containerImage=image, freeze=freeze, config=config)

    nextflow.ask(field.daemon, containerImage=image, config={"layers": [script]})
    connection = http.client.HTTPConnection("127.0.0.1", field.daemon.port, timeout=SECONDS)
    try:
        return [_compare("a request known", known, connection), _compare("a new request", new, connection)]
    finally:
        connection.close()


def _compare(what: str, ask: Ask, connection: http.client.HTTPConnection) -> Row:
    medians: dict[bool, list[float]] = {False: [], True: []}
    for number in range(WARM):
        for freeze in (False, True):
            _post(connection, ask(freeze, -1 - number))
    for turn in range(ROUNDS):
        taken: dict[bool, list[float]] = {False: [], True: []}
        for each in range(REQUESTS):
            for freeze in sorted(taken, reverse=each % 2 == 0):
                taken[freeze].append(_post(connection, ask(freeze, turn * REQUESTS + each)))
        for freeze, times in taken.items():
            medians[freeze].append(statistics.median(times))
    return against(f"freeze: POST, {what}, p50", "not frozen", medians[True], medians[False], "ms", at_most=MARK)


def _post(connection: http.client.HTTPConnection, body: dict[str, Any]) -> float:
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
