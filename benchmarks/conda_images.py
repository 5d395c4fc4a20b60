"""An image of 100 packages and Python (500 MB of tar in 16,000 files, 150 MB of packages): seconds from the POST until
there is a manifest. Three rounds of each in turn, each with an empty store, cache, or storage:
wavelet, asked by the lock; `rattler.install` of the same packages, fetching and linking alone, without solving; and the
classic way on the same channel: buildah with the base, rattler into its root (for micromamba, which is not to be had;
its cache beside it, removed as `micromamba clean` does), one layer committed and pushed to docker-registry.
Seen before: every package has a layer; nine new environments of 100 of them asked for by specs, and one of them nine
times again. Memory: the greatest sum of the resident memory of the daemon and its workers while all is cold (every
20 ms; shared pages count in each process), against rattler's process.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import conda_set
from conda_peers import classic_way, rattler
from conda_site import Site, ask, open_site
from field import Field
from report import Row, against, bounded, faster
from rounds import alternate
from watched import watched

ROUNDS = 3
AGAIN = 9


@dataclass(frozen=True)
class _Ours:
    cold: float
    new: float
    again: float
    megabytes: float


def measure(field: Field) -> list[Row]:
    """Return seconds and memory against both peers."""
    site, specs = open_site(field), conda_set.specs()
    rounds: dict[str, list[Any]] = alternate(
        ROUNDS,
        {
            "wavelet": lambda: _wavelet(site, specs),
            "rattler": lambda: rattler(site, specs),
            "classic": lambda: classic_way(site, specs),
        },
    )
    ours, installed, steps = rounds["wavelet"], rounds["rattler"], rounds["classic"]
    classic = [sum(each.values()) for each in steps]
    cold, new, again = ([getattr(each, name) for each in ours] for name in ("cold", "new", "again"))
    hundred = "conda, 100 packages"
    return [
        bounded(f"{hundred} seen before, p50", new, "s", 1.0),
        bounded(f"{hundred}, the same again, p50", again, "s", 1.0),
        faster(f"{hundred} seen before", "classic way", new, classic, "s", at_least=50),
        against(f"{hundred}, cold", "rattler", cold, [each["seconds"] for each in installed], "s", at_most=1.5),
        faster(f"{hundred}, cold", "classic way", cold, classic, "s", at_least=2),
        *(
            Row(f"{hundred}, classic way: {name}", "", f"{statistics.median(each[name] for each in steps):.3g} s")
            for name in steps[0]
        ),
        against(
            f"{hundred}, cold: peak memory",
            "rattler",
            [each.megabytes for each in ours],
            [each["peak"] for each in installed],
            "MB",
        ),
    ]


def _wavelet(site: Site, specs: Sequence[str]) -> _Ours:
    lock = site.lock(specs)
    with site.daemon() as daemon:
        os.sync()  # what earlier rounds have written is not this one's to wait for
        with watched(daemon.pid) as memory:
            cold = ask(daemon, environment=lock)
        ask(daemon, *conda_set.specs(without=1))  # so that the last packages are seen, and the channel's index is
        os.sync()
        new = [ask(daemon, *conda_set.specs(without=1 + number)).seconds for number in range(50, 50 + AGAIN)]
        again = [ask(daemon, *conda_set.specs(without=51)).seconds for _ in range(AGAIN)]
    shutil.rmtree(daemon.state)
    return _Ours(cold.seconds, statistics.median(new), statistics.median(again), memory.peak)
