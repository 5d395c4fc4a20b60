"""A whole SIF from an image's bytes, made by what workers run; as a program too, for processes of other kinds.

python made_sif.py CODEC DIRECTORY    prints the digest of the SIF of an image that is made here, the same every time
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import lab
import wavelet
from lab.odd_image import odd_layers
from wavelet.archive.squashfs.codecs import installed
from wavelet.kinds.sif.compose.compose import Composed, SegmentFiles, compose
from wavelet.kinds.sif.segments.maker import DATA, TABLE, make_segment

SECONDS = 120.0
PLACES = (Path(wavelet.__file__).parents[1], Path(lab.__file__).parents[1])
"""Where modules are that are of no environment."""

ROOM = 1_000_000_000
CONFIG = b'{"config": {"Env": ["PATH=/bin", "A=b"], "Entrypoint": ["/bin/sh"], "Labels": {"a": "b"}}}'


def make(layers: Sequence[bytes], config: bytes, codec: str, directory: Path) -> tuple[Composed, list[SegmentFiles]]:
    """Make the SIF of layers as they come, the lowest first, in an empty directory; return it and its segments."""
    segments = []
    for number, layer in enumerate(layers):
        place, blob = directory / f"segment-{number}", directory / f"layer-{number}"
        place.mkdir()
        blob.write_bytes(layer)
        made = make_segment(blob, f"number {number}", place, installed(codec), ROOM)
        segments.append(SegmentFiles(place / TABLE, place / DATA, made.data.size))
    (directory / "own").mkdir()
    return compose(segments, config, "amd64", installed(codec), directory / "own"), segments


def make_elsewhere(codec: str, directory: Path, *command: str, **environment: str) -> str:
    """Make the SIF of the odd image in a process of its own; return its digest.

    Args:
        codec: what compresses.
        directory: an empty one.
        command: another Python than this one, or this one under an emulator.
        environment: its variables.
    """
    argv = [*(command or (sys.executable,)), __file__, codec, str(directory)]
    given = {"PYTHONPATH": ":".join(map(str, PLACES))} | environment
    done = subprocess.run(argv, env=given, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


if __name__ == "__main__":
    made, _ = make([layer.blob for layer in odd_layers()[1:]], CONFIG, sys.argv[1], Path(sys.argv[2]))
    sys.stdout.write(f"{made.digest}\n")
