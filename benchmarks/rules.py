"""Milliseconds from a POST to its answer by a node with 200 rules beside one without any, of an image that is pinned,
with a small inline layer: the same request again and again, and requests that were never made. The rules are globs over
images, of which the last one adds a variable; a keep-alive connection to each node, a hundred requests to each in turn
a round, eleven rounds; a round's figure is its median. And `ExplainRules` over gRPC, on the node with rules.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from field import Field
from posts import SECONDS, in_turn, post
from report import Row, against, bounded

from lab import images, nextflow
from lab.daemon import Daemon
from wavelet.client import Client
from wavelet.v1.containers_pb2 import ResolveRequest

EXPLAINED = 50
RULES = 200
MARK, EXPLAIN_MARK = 1.05, 100.0

Ask = Callable[[int], dict[str, Any]]


def measure(field: Field) -> list[Row]:
    """Return the medians of both nodes, and of what is explained."""
    script = images.layer({"usr/local/bin/tool": b"#!/bin/sh\n"}, executable=["usr/local/bin/tool"]).in_request()
    image = f"{field.registry.host}/{field.REPOSITORY}:{field.TAG}"

    def known(_: int) -> dict[str, Any]:
        return nextflow.body(containerImage=image, config={"layers": [script]})

    def new(number: int) -> dict[str, Any]:
        return nextflow.body(containerImage=image, config={"layers": [script], "env": [f"N={number}"]})

    with _nodes(field.fresh("rules")) as (ruled, plain):
        for node in (ruled, plain):
            nextflow.ask(node, containerImage=image, config={"layers": [script]})
        with contextlib.closing(_connect(ruled)) as ours, contextlib.closing(_connect(plain)) as theirs:
            rows = [_compare(what, ask, ours, theirs) for what, ask in (("known", known), ("new", new))]
        return [*rows, _explained(ruled, image)]


@contextlib.contextmanager
def _nodes(directory: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """Start a node with rules, and one without."""
    directory.mkdir(parents=True)
    folder = directory / "rules.d"
    folder.mkdir(mode=0o755)
    rules = [
        {
            "name": f"rule-{number}",
            "when": {"image": f"registry-{number}.example/lab/**"},
            "do": {"redirect": f"other-{number}.example/lab"},
        }
        for number in range(RULES - 1)
    ]
    rules.append({"name": "variable", "do": {"env": {"SITE": "here"}}})
    (folder / "site.yaml").write_text(yaml.safe_dump(rules))
    none = directory / "none.d"
    none.mkdir()
    with contextlib.ExitStack() as stack:
        started = []
        for name, rules_directory in (("ruled", folder), ("plain", none)):
            node = Daemon(directory / name, settings={"rules": {"directory": str(rules_directory)}})
            node.start()
            stack.callback(node.stop)
            started.append(node)
        yield started[0], started[1]


def _connect(node: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", node.port, timeout=SECONDS)


def _compare(what: str, ask: Ask, ours: http.client.HTTPConnection, theirs: http.client.HTTPConnection) -> Row:
    ruled, plain = in_turn(lambda number: post(ours, ask(number)), lambda number: post(theirs, ask(number)))
    return against(f"POST with {RULES} rules, a {what} request, p50", "no rules", ruled, plain, "ms", at_most=MARK)


def _explained(node: Daemon, image: str) -> Row:
    taken = []
    asked = ResolveRequest(container_image=image)
    with Client(f"unix:{node.state}/wavelet.sock") as client:
        for _ in range(EXPLAINED):
            started = time.perf_counter()
            client.explain_rules(asked)
            taken.append(1000 * (time.perf_counter() - started))
    return bounded(f"explain, {RULES} rules, p50", taken, "ms", EXPLAIN_MARK)
