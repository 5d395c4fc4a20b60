"""Memory while one package of 1 GB becomes a layer: the greatest sum of the resident memory of the daemon and its
workers (every 20 ms; shared pages count in each process), against the process of `rattler.install`.
"""

from __future__ import annotations

import shutil

from conda_peers import rattler
from conda_site import Site, ask, open_site
from field import Field
from report import Row, against
from rounds import alternate
from watched import watched

from lab.conda_channel import make_channel
from lab.conda_packages import Noise, Package

ROUNDS = 1
CHANNEL = "big"
NAME = "gigabyte"


def measure(field: Field) -> list[Row]:
    """Return the peaks."""
    site = open_site(field)
    files = {f"share/{NAME}/{number}": Noise(1_000, number) for number in range(1_000)}
    package = Package(NAME, files={f"lib/lib{NAME}.so": Noise(1_000_000_000, 1, mode=0o755), **files})
    site.server.channels[CHANNEL] = make_channel(field.fresh("big"), [package])
    peaks = alternate(
        ROUNDS,
        {"wavelet": lambda: _wavelet(site), "rattler": lambda: rattler(site, [NAME], channel=CHANNEL)["peak"]},
    )
    return [against("conda, a package of 1 GB: peak memory", "rattler", peaks["wavelet"], peaks["rattler"], "MB")]


def _wavelet(site: Site) -> float:
    with site.daemon() as daemon, watched(daemon.pid) as memory:
        ask(daemon, NAME, channel=CHANNEL)
    shutil.rmtree(daemon.state)
    return memory.peak
