"""The unit files: systemd finds nothing wrong with them, and the documentation gives their figure."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from lab.processes import run
from wavelet import paths

pytestmark = pytest.mark.systemd

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return the units with the `wavelet` of these tests; systemd looks for programs in system directories only."""
    target = tmp_path / "units"
    shutil.copytree(UNITS, target)
    command = Path(sys.executable).with_name("wavelet")
    for path in target.rglob("*.service"):
        path.write_text(re.sub(r"^(ExecStart=)wavelet\b", rf"\1{command}", path.read_text(), flags=re.MULTILINE))
    return target


def test_the_systems_units(units: Path) -> None:
    found = run(["systemd-analyze", "verify", "--man=no", *units.glob("wavelet*.service"), *units.glob("*.socket")])
    assert (found.stdout, found.stderr) == ("", "")


def test_the_users_unit(units: Path, tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    found = run(
        ["systemd-analyze", "verify", "--user", "--man=no", units / "user" / "wavelet.service"], environment=environment
    )
    assert (found.stdout, found.stderr) == ("", "")
    text = (units / "user" / "wavelet.service").read_text()
    base, count = map(int, re.findall(r"\$\$\(\((\d+) \+ %U %% (\d+)\)\)", text)[0])
    assert [base + uid % count for uid in (0, 1000, 123_456)] == [paths.private_port(u) for u in (0, 1000, 123_456)]
    assert "/tmp/wavelet-%U/state" in text
    assert paths.node_directory(7) == "/tmp/wavelet-7"


def test_the_documented_exposure_is_the_one_that_systemd_finds(units: Path) -> None:
    shown = run(["systemd-analyze", "security", "--offline=yes", units / "wavelet.service"]).stdout
    found = re.search(r"Overall exposure level for wavelet.service: ([\d.]+)", shown)
    assert found
    assert f"exposure level {found[1]}" in (ROOT / "docs" / "install.md").read_text()


def test_the_group_and_the_directories(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run(["systemd-sysusers", f"--root={tmp_path}", UNITS / "wavelet.sysusers"])
    assert re.search(r"^wavelet:", (tmp_path / "etc" / "group").read_text(), re.MULTILINE)
    run(["systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "wavelet.tmpfiles"])
    assert (tmp_path / "run" / "wavelet").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "var" / "lib" / "wavelet").stat().st_mode & 0o777 == 0o700
