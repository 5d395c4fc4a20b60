"""Milliseconds from a POST to its answer, frozen without a repository beside one that is not, of the same image, which
is pinned already, with a small inline layer: the same request again and again, and requests that were never made.
One keep-alive connection, a hundred requests of each kind in turn a round, eleven rounds; a round's figure is its
median.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

from field import Field
from posts import SECONDS, in_turn, post
from report import Row, against

from lab import images, nextflow

MARK = 1.2

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
    frozen, plain = in_turn(
        lambda number: post(connection, ask(True, number)), lambda number: post(connection, ask(False, number))
    )
    return against(f"freeze: POST, {what}, p50", "not frozen", frozen, plain, "ms", at_most=MARK)
