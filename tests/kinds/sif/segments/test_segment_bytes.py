"""A segment's bytes are the same in every process and on every CPU, and known for all time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from segment_lab import directory, link, member, packed, segment, symlink

import wavelet
from groups import program
from wavelet.archive import gzip_members
from wavelet.archive.squashfs.codecs import CODECS, GZIP, ZSTD, Codec

GOLDEN = {
    "gzip": (
        "9605ff72e6a2b77f62dd3d1b27848dab35ce47d6076b9f242b4db4a366915b9b",
        "faf11edd6a9a8f8cedf745cd9783c92f200ce9a1c602492e7a7c526b4eb0f28d",
    ),
    "zstd": (
        "b751b9617abdc696656e489c71d379f6cdef5035a8fafa7630ca881cf8967b8b",
        "7660550f5da9a145ac112e0b3250496b84da3cb7dc02fc0a5facc8eeab1987c0",
    ),
}
"""The digests of the golden layer's data and index. With a change here counts `LayerSegment.version` up."""

PACKAGE = Path(wavelet.__file__).parents[1]

CPUS = ("Penryn", "Haswell-noTSX")
"""Without SSE4.2 and AVX2, and with both."""


def golden() -> bytes:
    """Return a layer that has some of everything."""
    text = gzip_members.sample()
    return packed(
        [
            directory("./", mode=0o755),
            directory("bin"),
            member("bin/program", data=text, mode=0o755),
            member("bin/copy", data=text, mode=0o755),
            member("lib/small", data=text[:5000], pax_headers={"SCHILY.xattr.user.note": "a note"}),
            member("lib/caf\udce9", data=text[7:300_007], uid=1000, gid=100),
            member("lib/holes", data=bytes(300_000) + b"end"),
            link("lib/hard", "lib/small"),
            link("lib/lower", "etc/motd"),
            symlink("usr", "lib"),
            member("usr/below", data=b"below"),
            member("etc/.wh.passwd"),
            member("var/.wh..wh..opq"),
        ]
    )


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_a_segment_is_known_by_its_digests(codec: Codec, tmp_path: Path) -> None:
    made = segment(golden(), tmp_path / "segment", codec).made
    assert (made.data.digest.hex, made.table.digest.hex) == GOLDEN[codec.name]


ELSEWHERE = """
import json, sys
from pathlib import Path
from wavelet.archive.squashfs.codecs import CODECS, installed
from wavelet.kinds.sif.segments.maker import make_segment
layer, scratch = map(Path, sys.argv[1:])
found = {}
for name, codec in CODECS.items():
    (scratch / name).mkdir(parents=True)
    made = make_segment(layer, "a layer", scratch / name, codec, 10**9)
    found[name] = [made.data.digest.hex, made.table.digest.hex, installed(name).implementation]
print(json.dumps(found))
"""


def made_elsewhere(
    tmp_path: Path, under: tuple[str, ...] = (), python: str = sys.executable, **variables: str
) -> dict[str, list[str]]:
    """Make the golden segments in another process."""
    (tmp_path / "layer").write_bytes(golden())
    command = [*under, python, "-c", ELSEWHERE, tmp_path / "layer", tmp_path / "scratch"]
    run = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(run.stdout)
    return found


EXPECTED = {name: [*digests, CODECS[name].implementation] for name, digests in GOLDEN.items()}


@pytest.mark.process
def test_a_segment_is_the_same_in_every_process(tmp_path: Path) -> None:
    assert made_elsewhere(tmp_path, PYTHONHASHSEED="1", TZ="UTC+3", LC_ALL="C") == EXPECTED


@pytest.mark.qemu
@pytest.mark.parametrize("cpu", CPUS)
def test_a_segment_is_the_same_on_every_cpu(cpu: str, tmp_path: Path) -> None:
    assert made_elsewhere(tmp_path, under=("qemu-x86_64", "-cpu", cpu)) == EXPECTED


@pytest.mark.aarch64
def test_a_segment_is_the_same_on_aarch64(tmp_path: Path) -> None:
    python = program("python3-aarch64")
    assert python is not None
    machine = subprocess.run([python, "-c", "import os; print(os.uname().machine)"], capture_output=True, check=True)
    assert machine.stdout == b"aarch64\n"
    assert made_elsewhere(tmp_path, python=python, PYTHONPATH=str(PACKAGE)) == EXPECTED


def test_what_the_digests_are_of_is_itself_the_same() -> None:
    assert hashlib.sha256(golden()).hexdigest() == "82cf1fb6c17b71dfcf900a5954a1b78c8e0a959a5eb25fc49732077b3b2d9070"
