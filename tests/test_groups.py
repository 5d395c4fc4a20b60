"""The rule of the groups: an absent part skips its tests with the reason, and fails the session in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groups import PARTS

pytestmark = pytest.mark.process

TESTS = Path(__file__).parent
CONFTEST = "from groups import Groups\n\n\ndef pytest_configure(config):\n    config.pluginmanager.register(Groups())\n"
GROUPS = tuple(PARTS)


def session(directory: Path, tests: str, *, ci: bool, present: bool) -> subprocess.CompletedProcess[str]:
    """Run pytest on `tests` on a machine that has all parts, or none."""
    (directory / "conftest.py").write_text(
        CONFTEST + f"import groups\n\ngroups.program = lambda name: {present} or None\ngroups.os.geteuid = lambda: 0\n"
    )
    (directory / "test_it.py").write_text(f"import pytest\n\n{tests}")
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n" + "".join(f"    {name}\n" for name in GROUPS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "WAVELET"))}
    environment |= {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | (
        {"WAVELET_CI": "1"} if ci else {}
    )
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(directory)]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=50)


ONE_EACH = "".join(f"@pytest.mark.{name}\ndef test_{name}():\n    pass\n\n\n" for name in GROUPS)
ONE_ONLY = "@pytest.mark.docker\ndef test_docker():\n    pass\n"


@pytest.mark.parametrize(
    ("tests", "ci", "present", "status", "said"),
    [
        (ONE_EACH, True, True, 0, f"{len(GROUPS)} passed"),
        (ONE_EACH, False, False, 0, "needs dockerd, docker, unshare (apt-get install docker.io)"),
        (ONE_EACH, True, False, 1, "group docker: needs dockerd, docker, unshare"),
        (ONE_ONLY, True, True, 1, "group podman: no test ran"),
        (ONE_ONLY, False, True, 0, "1 passed"),
    ],
)
def test_the_rule(tmp_path: Path, tests: str, ci: bool, present: bool, status: int, said: str) -> None:
    done = session(tmp_path, tests, ci=ci, present=present)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
