"""Memory while a SIF of 500,000 files in ten layers is composed, whose segments are there: the greatest sum of the
resident memory of the daemon and its workers (every 20 ms; shared pages count in each process), and that of the
largest worker alone. An eleventh layer, of one file, makes it another image than that which has made the segments.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from contextlib import ExitStack
from io import BytesIO

import sif_site
from field import Field
from report import Row, bounded
from watched import watched

from lab import images, sif_asks
from lab.daemon import Daemon
from lab.images import Layer

LAYERS, FILES = 10, 50_000
DIRECTORY = 500
"""Files of a directory."""

MARK = 150
REPOSITORY = "bench/many-files"


def measure(field: Field) -> list[Row]:
    """Return the peaks."""
    layers = [_layer(number) for number in range(LAYERS)]
    for tag in ("first", "second"):
        own = images.layer({"own": tag.encode()})
        field.registry.push(REPOSITORY, tag, images.image([*layers, own]))
    with ExitStack() as stack:
        daemon = Daemon(field.fresh("sif-memory"))
        stack.callback(daemon.stop)
        daemon.start()
        first, second = (
            sif_asks.file_url(sif_asks.cached(daemon, field.registry, f"{REPOSITORY}:{tag}"))
            for tag in ("first", "second")
        )
        sif_site.seconds_to_first_byte(first)
        with watched(daemon.pid) as memory:
            seconds = sif_site.seconds_to_first_byte(second)
    shutil.rmtree(daemon.state)
    name = f"SIF, composing {LAYERS * FILES:,} files: peak memory"
    return [
        bounded(f"{name} of the largest process", [memory.largest], "MB", MARK, f"in {seconds:.3g} s"),
        Row(f"{name} of all processes", f"{memory.peak:.3g} MB"),
    ]


def _layer(number: int) -> Layer:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for each in range(FILES):
            content = b"file %d of layer %d\n" % (each, number)
            member = tarfile.TarInfo(f"many/part{each // DIRECTORY}/of-layer-{number}-number-{each}.txt")
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    packer = zlib.compressobj(1, wbits=31)
    return Layer(buffer.getvalue(), packer.compress(buffer.getvalue()) + packer.flush())
