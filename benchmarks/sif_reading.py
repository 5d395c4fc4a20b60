"""Reading all files of an image that the kernel has mounted, with nothing of it in memory: the SIF of 100 conda
packages beside the image that `mksquashfs -comp gzip` makes of the same tree. Five rounds in turn; `tar` reads in the
order of the directories, and writes nowhere.
"""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path

import conda_set
import sif_site
from conda_site import SECONDS, open_site
from field import Field
from report import Row, against
from rounds import alternate

from lab import sif
from lab.processes import run

ROUNDS = 5
MARK = 1.1


def measure(field: Field) -> list[Row]:
    """Return the seconds of both."""
    site = open_site(field)
    directory = field.fresh("reading")
    directory.mkdir()
    with site.daemon() as daemon:
        file = sif_site.download(sif_site.ask(daemon, *conda_set.specs()).url, directory / "made.sif")
    shutil.rmtree(daemon.state)
    peer = directory / "peer.squashfs"
    sif_site.mksquashfs(sif_site.unpacked(file), peer)
    starts = {"wavelet": (file, sif.partition(file).offset), "mksquashfs": (peer, 0)}
    rounds = alternate(ROUNDS, {name: partial(_seconds, *start, directory / "root") for name, start in starts.items()})
    shutil.rmtree(directory)
    measured = (rounds["wavelet"], rounds["mksquashfs"])
    return [against("SIF, reading all of it, mounted", "mksquashfs", *measured, "s", at_most=MARK)]


def _seconds(file: Path, offset: int, place: Path) -> float:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    with sif.mounted(file, place, offset=offset) as root:
        started = time.monotonic()
        # GNU tar reads no file whose archive is /dev/null; through a pipe it does.
        run(["sh", "-c", 'tar -C "$0" -cf - . | cat >/dev/null', root], seconds=SECONDS)
        return time.monotonic() - started
