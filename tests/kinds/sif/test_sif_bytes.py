"""A SIF's bytes, of layers as they come, are the same in every process and on every CPU, and known for all time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_sif import make_elsewhere

from groups import program

pytestmark = pytest.mark.process

DIGESTS = {
    "gzip": "sha256:2ee9fbf9baf07854599869685eaa71b9d24adba3c45badb1e70b05a64488acbc",
    "zstd": "sha256:0d9c6cb220f85ecfafe88ef06a5eaa292444598b19894cf266d58c60e3e3d1c4",
}
"""Of the image whose layers collide (lab/odd_image.py), without busybox, which each machine has its own of."""

CPUS = ("Penryn",)
"""Without SSE4.2, AVX and the like."""


@pytest.mark.parametrize("codec", DIGESTS)
def test_a_sif_is_known_by_its_digest(codec: str, tmp_path: Path) -> None:
    """A change here changes every SIF that nodes have: the maker's version has to change with it."""
    assert make_elsewhere(codec, tmp_path) == DIGESTS[codec]


@pytest.mark.parametrize("codec", DIGESTS)
def test_a_sif_is_the_same_in_every_process(codec: str, tmp_path: Path) -> None:
    for number, seed in enumerate(("0", "1")):
        place = tmp_path / seed
        place.mkdir()
        digest = make_elsewhere(codec, place, PYTHONHASHSEED=seed, TZ=f"UTC+{number}", LC_ALL="C")
        assert digest == DIGESTS[codec]


@pytest.mark.qemu
@pytest.mark.parametrize("cpu", CPUS)
def test_a_sif_is_the_same_on_another_cpu(cpu: str, tmp_path: Path) -> None:
    assert make_elsewhere("gzip", tmp_path, "qemu-x86_64", "-cpu", cpu, sys.executable) == DIGESTS["gzip"]


@pytest.mark.aarch64
@pytest.mark.parametrize("codec", DIGESTS)
def test_a_sif_is_the_same_on_another_architecture(codec: str, tmp_path: Path) -> None:
    python = program("python3-aarch64")
    assert python is not None
    assert make_elsewhere(codec, tmp_path, python) == DIGESTS[codec]
