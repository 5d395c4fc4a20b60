"""Two environments of 100 packages and Python, the second with other versions of a tenth of the bytes, in packages of
all sizes: bytes that an engine downloads for the second image when it has the first, counted before the daemon, against
all of the second image. Every engine with a storage of its own. Docker 20.10 knows a layer only by all that is below
it, so of what two images share it has only the layers below the first that differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import conda_set
from conda_site import ask, open_site
from counting import Counting
from field import Field
from report import Row

from lab import conda_asks, engines
from lab.ports import free_port

MOST = 0.12
engines.PULL_SECONDS = 240.0
"""A pull of half a gigabyte in sixty layers takes longer than those of tests."""


def measure(field: Field) -> list[Row]:
    """Return the bytes for each engine."""
    site = open_site(field)
    rows = []
    with Counting(free_port()) as door, site.daemon(authority=door.authority) as daemon:
        door.before(daemon.port)
        first, second = (ask(daemon, *conda_set.specs(version=version)).image for version in ("1.0", "2.0"))
        sizes = [
            {layer["digest"]: layer["size"] for layer in conda_asks.manifest(daemon, image)["layers"]}
            for image in (first, second)
        ]
        whole = sum(sizes[1].values())
        new = sum(size for digest, size in sizes[1].items() if digest not in sizes[0])
        share = site.share(conda_set.specs(version="1.0"), conda_set.specs(version="2.0"))
        name = f"conda, second image with {share:.1%} of the packages' bytes of the first"
        rows.append(_row(f"{name}: its new layers", new, whole))
        for engine in ("podman", "docker", "containerd"):
            with engine_of(engine, field) as running:
                started = time.monotonic()
                running.pull(first)
                seconds = time.monotonic() - started
                before = door.answered
                running.pull(second)
                rows.append(_row(f"{name}: {engine}", door.answered - before, whole, f"{seconds:.1f} s"))
    return rows


def _row(measure: str, got: float, whole: float, first: str = "") -> Row:
    peer = f"all of it: {whole / 1e6:.0f} MB" + (f"; the first took {first}" if first else "")
    return Row(measure, f"{got / 1e6:.1f} MB", peer, f"{got / whole:.3g}", f"≤ {MOST:g}", got / whole <= MOST)


@contextmanager
def engine_of(name: str, field: Field) -> Iterator[engines.Engine]:
    directory = field.fresh(name)
    if name == "podman":
        yield engines.Podman(directory)
        return
    with (engines.Docker if name == "docker" else engines.Containerd)(directory).running() as engine:
        yield engine
