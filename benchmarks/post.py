"""Latency of `POST /v1alpha2/container` for an image that is pinned already, with the body that Nextflow 24.10 sends
and a small inline layer (wrk, one keep-alive connection, two seconds a round, five rounds): the same request again and
again, as every task of a process sends it, and requests that were never made before.
"""

from __future__ import annotations

import json
from pathlib import Path

from field import Field
from load import Load, load
from report import Row, bounded

from lab import images, nextflow

ROUNDS = 5
NEW = 20_000
SECONDS = 2.0


def measure(field: Field) -> list[Row]:
    """Return the percentiles of both kinds."""
    config = {
        "layers": [images.layer({"usr/local/bin/tool": b"#!/bin/sh\n"}, executable=["usr/local/bin/tool"]).in_request()]
    }
    image = f"{field.registry.host}/{field.REPOSITORY}:{field.TAG}"
    nextflow.ask(field.daemon, containerImage=image, config=config)
    same, new = field.fresh("same"), field.fresh("new")
    _write(same, [nextflow.body(containerImage=image, config=config)])
    rows = []
    repeated = [load(field.daemon.url, seconds=SECONDS, requests=same) for _ in range(ROUNDS)]
    rows += _rows("POST, a request known", repeated)
    fresh = []
    for number in range(ROUNDS):
        bodies = (config | {"env": [f"N={number}.{each}"]} for each in range(NEW))
        _write(new, [nextflow.body(containerImage=image, config=each) for each in bodies])
        fresh.append(load(field.daemon.url, seconds=SECONDS, requests=new))
    return rows + _rows("POST, a new request", fresh)


def _write(path: Path, bodies: list[dict[str, object]]) -> None:
    path.write_text("".join(f"POST\t/v1alpha2/container\t{json.dumps(body)}\n" for body in bodies))


def _rows(measure: str, loads: list[Load]) -> list[Row]:
    p99 = sorted(each.p99 for each in loads)[ROUNDS // 2]
    return [
        bounded(f"{measure}, p50", [each.p50 for each in loads], "ms", 3.0),
        Row(f"{measure}, p99", f"{p99:.3g} ms"),
    ]
