"""What measures of copies share: large images, where they are, and the copiers that are compared."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from field import Distribution, Field, raw_layer
from report import Row, against

from lab.images import Image, Layer
from lab.processes import run

SECONDS = 300.0
"""How long one copy may take."""

_COPIER = Path(__file__).with_name("copier.py")


@dataclass(frozen=True)
class Copied:
    """How a copy went: seconds, bytes that were sent, and the peak of resident memory in MB."""

    seconds: float
    bytes: int
    memory: float


def large_layer(size: int, seed: int) -> Layer:
    """Return a layer of `size` random bytes in gzip's form, so that no peer compresses it on the way."""
    data = raw_layer(size, seed).tar
    packer = zlib.compressobj(0, wbits=31)
    return Layer(data, packer.compress(data) + packer.flush())


def write_layout(image: Image, directory: Path) -> Path:
    """Write an image as an OCI layout, and return its directory."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in {image.digest: image.document, **image.blobs}.items():
        (blobs / digest.partition(":")[2]).write_bytes(data)
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.document)}
    named = entry | {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    return directory


def by_wavelet(state: Path, what: str, *names: str) -> list[Copied]:
    """Copy images as the daemon does, all in one process; `names` are sources, each before its target."""
    os.sync()  # what earlier rounds have written is not this one's to wait for
    done = run([sys.executable, _COPIER, state, what, *names], seconds=SECONDS)
    return [Copied(**json.loads(line)) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def empty_registry(field: Field) -> Iterator[str]:
    """Start a registry that has nothing yet, and give the name of a repository there, which nobody can know of."""
    directory = field.fresh("copies")
    registry = Distribution(directory)
    registry.start()
    try:
        yield f"{registry.host}/lab/{directory.name}"
    finally:
        registry.stop()
        shutil.rmtree(directory)


def timed(command: Sequence[str]) -> float:
    """Return the seconds that a command takes."""
    os.sync()
    started = time.monotonic()
    run(command, seconds=SECONDS)
    return time.monotonic() - started


def compare(measure: str, times: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return a row for each peer of `wavelet`; the mark is held against the faster one of each round."""
    peers = {name: values for name, values in times.items() if name != "wavelet"}
    ours, faster = times["wavelet"], [min(each) for each in zip(*peers.values(), strict=True)]
    rows = [against(measure, peer, ours, theirs, "s") for peer, theirs in peers.items()]
    return [*rows, against(measure, "the faster", ours, faster, "s", at_most=1.0)]
