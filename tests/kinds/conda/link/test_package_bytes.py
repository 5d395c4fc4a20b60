"""A layer's bytes are the same in every process and on every CPU that matters, and known for all time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from linked_packages import golden, link, link_elsewhere

from lab.conda_packages import write
from wavelet.archive import gzip_members
from wavelet.archive.layer_writer import end_member
from wavelet.kinds.conda.link.prefix_layer import directories_member

DIFF_ID = "sha256:9a6ff2c326ca1e54b4f5329ab7a320f2f739677fe764c66a9e1fef1661bf5bde"
DIGEST = "sha256:d6c04f6313f05735f008ba7b4524b550583fd2a4ea9de82a6b22f24f431cc515"
OLD_CPUS = ("Nehalem", "Westmere")
"""The first x86 that ISA-L's levels 1 and 2 give the same bytes on as on all later ones."""
OLDER_CPU = "Penryn"
"""One without SSE4.2, where ISA-L's bytes are others."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return the archive of the golden package."""
    return write(tmp_path / "channel", golden())


def test_a_layer_is_known_by_its_digests(archive: Path, tmp_path: Path) -> None:
    """A change here is a change of the links or the tar, and `LINKER` has to change with it; or of the codec."""
    made = link(archive, tmp_path / "layer", "3.12")
    assert made.info.diff_id == DIFF_ID
    assert made.info.digest == DIGEST


@pytest.mark.process
def test_a_layer_is_the_same_in_every_process(archive: Path, tmp_path: Path) -> None:
    for number, seed in enumerate(("0", "1", "2")):
        made = link_elsewhere(archive, tmp_path / f"layer{number}", PYTHONHASHSEED=seed, TZ=f"UTC+{number}", LC_ALL="C")
        assert (made["diff_id"], made["digest"], made["codec"]) == (DIFF_ID, DIGEST, "isal")


@pytest.mark.qemu
@pytest.mark.parametrize("cpu", OLD_CPUS)
def test_a_layer_is_the_same_on_an_older_cpu(cpu: str, archive: Path, tmp_path: Path) -> None:
    made = link_elsewhere(archive, tmp_path / "layer", under=("qemu-x86_64", "-cpu", cpu))
    assert (made["diff_id"], made["digest"], made["codec"]) == (DIFF_ID, DIGEST, "isal")


@pytest.mark.qemu
def test_where_isal_gives_other_bytes_zlib_takes_over(archive: Path, tmp_path: Path) -> None:
    made = link_elsewhere(archive, tmp_path / "layer", under=("qemu-x86_64", "-cpu", OLDER_CPU))
    assert (made["diff_id"], made["codec"]) == (DIFF_ID, "zlib")
    assert made["digest"] != DIGEST


def test_the_self_test_gives_way_to_zlib(monkeypatch: pytest.MonkeyPatch, archive: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(gzip_members, "_GOLDEN", "0" * 64)
    gzip_members.codec.cache_clear()
    try:
        made = link(archive, tmp_path / "layer", "3.12")
        assert gzip_members.codec() == gzip_members.ZLIB
    finally:
        gzip_members.codec.cache_clear()
    assert made.info.diff_id == DIFF_ID
    assert made.info.digest != DIGEST


def test_members_that_all_layers_share_are_known() -> None:
    assert (
        hashlib.sha256(end_member()).hexdigest() == "62539018952ddec37a4fcf8d77171cfbcd5b21fc3520f32028cd9cfdae546a31"
    )
    assert (
        hashlib.sha256(directories_member(["", "bin", "lib", "lib/python3.12"])).hexdigest()
        == "7d72bc0d4cc8bb9ee665e61461a939e20069d0851cb202a58d097fd8de4a4e98"
    )
    assert directories_member({"lib", "", "bin"}) == directories_member(["", "bin", "lib"])
