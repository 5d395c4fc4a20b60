"""The SIF of an image of a registry, 1 GB of this machine's files in 10 layers, one of them new: from the request of
the file until its first byte, by a node that has made a SIF with the other nine. Beside it another node makes the SIF
of the new layer alone, of which the mark lets it take as long and 1.5 s more. Three rounds in turn, each with a new
layer.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import sif_site
from field import Field
from report import Row

from lab import images, sif_asks
from lab.daemon import Daemon
from lab.images import Image, Layer

ROUNDS = 3
LAYERS = 10
LAYER_BYTES = 100_000_000
MARK = 1.5
REPOSITORY = "bench/ten-layers"
_ROOTS = ("/usr/lib", "/usr/share", "/usr/local", "/usr/bin", "/opt")


def measure(field: Field) -> list[Row]:
    """Return the seconds of both."""
    layers = _layers()
    common = list(itertools.islice(layers, LAYERS - 1))
    before = images.image(common)
    whole, alone = [], []
    for new in itertools.islice(layers, ROUNDS):
        with _daemon(field) as daemon:
            _seconds(field, daemon, before)
            whole.append(_seconds(field, daemon, images.image([*common, new])))
        with _daemon(field) as daemon:
            _seconds(field, daemon, images.busybox())  # so that it has its workers, as the other has
            alone.append(_seconds(field, daemon, images.image([new])))
    more = [one - other for one, other in zip(whole, alone, strict=True)]
    shown = (statistics.median(whole), statistics.median(alone), statistics.median(more))
    row = Row(
        f"SIF, 1 GB in {LAYERS} layers, one new, first byte",
        f"{shown[0]:.3g} s",
        f"the new layer alone: {shown[1]:.3g} s",
        f"{shown[2]:+.3g} s",
        f"≤ {MARK:g} s more",
        shown[2] <= MARK,
    )
    return [row]


def _seconds(field: Field, daemon: Daemon, image: Image) -> float:
    tag = image.digest.partition(":")[2][:12]
    field.registry.push(REPOSITORY, tag, image)
    os.sync()  # what the registry has written is not this one's to wait for
    name = sif_asks.cached(daemon, field.registry, f"{REPOSITORY}:{tag}")
    return sif_site.seconds_to_first_byte(sif_asks.file_url(name))


@contextmanager
def _daemon(field: Field) -> Iterator[Daemon]:
    daemon = Daemon(field.fresh("sif-layers"))
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(daemon.state)


def _layers() -> Iterator[Layer]:
    """Yield layers of this machine's files, each file of them different from all before by its first line."""
    files = _files()
    for number in itertools.count():
        buffer = BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            while buffer.tell() < LAYER_BYTES:
                path, data = next(files)
                content = b"%d\n" % number + data
                member = tarfile.TarInfo(f"layer{number}{path}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, BytesIO(content))
        packer = zlib.compressobj(1, wbits=31)
        yield Layer(buffer.getvalue(), packer.compress(buffer.getvalue()) + packer.flush())


def _files() -> Iterator[tuple[str, bytes]]:
    while True:
        for root in _ROOTS:
            for directory, names, files in os.walk(root):
                names.sort()
                for path in (Path(directory, name) for name in sorted(files)):
                    if path.is_file() and not path.is_symlink() and path.stat().st_size < LAYER_BYTES // 4:
                        yield str(path), path.read_bytes()
