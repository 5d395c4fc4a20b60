"""The SIF of an image of 100 conda packages and Python (500 MB of tar). Seen before: all packages have been in a SIF
of this node; three new environments of 100 of them, from the POST to Wave's API below `/sif` until the first byte of
the file, each beside `mksquashfs -comp gzip` of the unpacked tree (on all cores, its files in memory). Cold: a daemon
with an empty store, asked by the lock for the SIF, beside another asked for the OCI image until its manifest, in
turn.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import conda_set
import sif_site
from conda_site import Site, ask, open_site
from field import Field
from report import Row, against, bounded, faster
from rounds import alternate

from lab import sif
from lab.daemon import Daemon

ROUNDS = 3
AGAIN = 9


@dataclass(frozen=True)
class _Made:
    """Seconds to the first byte and of mksquashfs, and the bytes of both images."""

    ours: float
    theirs: float
    our_bytes: int
    their_bytes: int


def measure(field: Field) -> list[Row]:
    """Return seconds and sizes against mksquashfs, and seconds against the OCI image."""
    site = open_site(field)
    with site.daemon() as daemon:
        for without in (1, 101):  # all packages are seen
            sif_site.ask(daemon, *conda_set.specs(without=without))
        made = [_made(field, daemon, 50 + number) for number in range(ROUNDS)]
        again = [sif_site.ask(daemon, *conda_set.specs(without=50)).seconds for _ in range(AGAIN)]
    shutil.rmtree(daemon.state)
    lock = site.lock(conda_set.specs())
    cold = alternate(ROUNDS, {"sif": lambda: _cold(site, lock), "oci": lambda: _cold_image(site, lock)})
    ours, theirs = [each.ours for each in made], [each.theirs for each in made]
    sizes = ([each.our_bytes / 1e6 for each in made], [each.their_bytes / 1e6 for each in made])
    hundred = "SIF, 100 conda packages"
    return [
        bounded(f"{hundred} seen before, first byte", ours, "s", 1.0),
        faster(f"{hundred} seen before, first byte", "mksquashfs", ours, theirs, "s", at_least=50),
        bounded(f"{hundred}, the same again, first byte", again, "s", 1.0),
        against(f"{hundred}, cold, first byte", "OCI image", cold["sif"], cold["oci"], "s", at_most=1.5),
        against(f"{hundred}: size", "mksquashfs", *sizes, "MB", at_most=1.15),
    ]


def _made(field: Field, daemon: Daemon, without: int) -> _Made:
    asked = sif_site.ask(daemon, *conda_set.specs(without=without))
    directory = field.fresh("sif")
    directory.mkdir()
    file = sif_site.download(asked.url, directory / "made.sif")
    image = directory / "peer.squashfs"
    theirs = sif_site.mksquashfs(sif_site.unpacked(file), image)
    made = _Made(asked.seconds, theirs, sif.partition(file).size, image.stat().st_size)
    shutil.rmtree(directory)
    return made


def _cold(site: Site, lock: str) -> float:
    with site.daemon() as daemon:
        seconds = sif_site.ask(daemon, environment=lock).seconds
    shutil.rmtree(daemon.state)
    return seconds


def _cold_image(site: Site, lock: str) -> float:
    with site.daemon() as daemon:
        seconds = ask(daemon, environment=lock).seconds
    shutil.rmtree(daemon.state)
    return seconds
