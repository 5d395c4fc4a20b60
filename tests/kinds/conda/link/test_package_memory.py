"""Memory does not grow with a package."""

from __future__ import annotations

from pathlib import Path

import pytest
from linked_packages import link_elsewhere

from lab.conda_packages import Noise, Package, write

pytestmark = pytest.mark.process

MEGABYTE = 1024 * 1024
BOUND = 120 * MEGABYTE
"""What a worker may have at most, some 40 MB of which are Python and libraries."""


def test_a_package_of_more_than_memory_may_take(tmp_path: Path) -> None:
    archive = write(tmp_path, Package("big", files={"lib/big": Noise(3 * BOUND, None)}))
    assert link_elsewhere(archive, tmp_path / "layer")["memory"] < BOUND


def test_a_package_in_the_old_format(tmp_path: Path) -> None:
    archive = write(tmp_path, Package("big", files={"lib/big": Noise(16 * MEGABYTE)}, extension=".tar.bz2"))
    assert link_elsewhere(archive, tmp_path / "layer")["memory"] < BOUND


@pytest.mark.parametrize("mode", ["text", "binary"])
def test_a_big_file_with_a_placeholder(mode: str, tmp_path: Path) -> None:
    archive = write(tmp_path, Package("patched", files={"lib/big": Noise(200 * MEGABYTE, prefix=mode)}))
    assert link_elsewhere(archive, tmp_path / "layer")["memory"] < BOUND
    assert {path.name for path in tmp_path.iterdir()} == {"linux-64", "layer"}
