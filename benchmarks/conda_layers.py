"""Images of many layers against images of few (`conda.layers`), of 100 packages and Python in real files (150 MB): the
seconds from the request until a container of it has run, by every engine with a storage of its own and empty. The
packages' layers are there already; each round is of another environment, whose image has to be put together. Then the
same of a second environment with other versions of a tenth of the bytes, where the engine has the first. Rounds of both
alternate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import conda_set
from conda_shared import engine_of
from conda_site import ask, open_site
from field import Field
from report import Row, against
from rounds import alternate

from lab import engines
from lab.daemon import Daemon

ROUNDS = 3
engines.PULL_SECONDS = 240.0

Layers = Literal["many", "few"]


@dataclass(frozen=True)
class _Taken:
    """Seconds from a request to the end of a container, of a first image and of a second one like it."""

    first: float
    second: float


def measure(field: Field) -> list[Row]:
    """Return the seconds of few layers against those of many, for each engine."""
    rows: list[Row] = []
    with ExitStack() as stack:
        daemons = {layers: stack.enter_context(_daemon(field, layers)) for layers in ("many", "few")}
        numbers = iter(range(97, 1, -4))
        for engine in ("docker", "podman", "containerd"):
            without = [next(numbers) for _ in range(ROUNDS)]
            rounds = alternate(
                ROUNDS,
                {layers: partial(_taken, field, engine, daemon, iter(without)) for layers, daemon in daemons.items()},
            )
            for which in ("first", "second"):
                few, many = ([getattr(each, which) for each in rounds[layers]] for layers in ("few", "many"))
                rows.append(against(f"conda, few layers, {which} image: {engine}", "many", few, many, "s"))
    return rows


@contextmanager
def _daemon(field: Field, layers: str) -> Iterator[Daemon]:
    site = open_site(field)
    with site.daemon(layers) as daemon:
        for version in ("1.0", "2.0"):  # all packages are seen
            for without in (1, 101):
                ask(daemon, *conda_set.specs(without=without, version=version))
        yield daemon


def _taken(field: Field, name: str, daemon: Daemon, without: Iterator[int]) -> _Taken:
    left_out = next(without)
    with engine_of(name, field) as engine:
        first, second = (_ran(engine, daemon, left_out, version) for version in ("1.0", "2.0"))
    return _Taken(first, second)


def _ran(engine: engines.Engine, daemon: Daemon, without: int, version: str) -> float:
    started = time.monotonic()
    image = ask(daemon, *conda_set.specs(without=without, version=version)).image
    engine.pull(image)
    engine.run(image, "/bin/bash", "-c", ":")
    return time.monotonic() - started
