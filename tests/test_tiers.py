"""How the tests are run: as a job that ignores Ctrl-C, and the quick tier."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

HERE = Path(__file__)
IGNORING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
)


def pytest_run(*arguments: str, ignoring: bool = False, directory: Path = HERE.parents[1]) -> str:
    """Run pytest in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    if ignoring:
        command = [sys.executable, "-c", IGNORING, *command]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "WAVELET"))}
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        env=clean,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def test_what_a_test_starts_can_be_interrupted() -> None:
    done = subprocess.run(["sh", "-c", "kill -INT $$; exit 7"], check=False, timeout=20)
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_also_where_the_tests_themselves_cannot() -> None:
    """`make test &` in a script: what a shell starts in the background ignores SIGINT, and so did what tests start."""
    node = f"{HERE}::{test_what_a_test_starts_can_be_interrupted.__name__}"
    assert "1 passed" in pytest_run(node, ignoring=True)


def test_a_process_is_refused_to_what_counts_as_quick(tmp_path: Path) -> None:
    room = tmp_path / "tests" / "plan"
    room.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    process: starts one\n")
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(HERE.parent)!r})\nfrom quick import Quick\n\n\n"
        "def pytest_addoption(parser):\n    parser.addoption('--quick', action='store_true')\n\n\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(Quick())\n"
    )
    body = "def test_{0}():\n    import subprocess\n    subprocess.run(['true'])\n\n\n"
    (room / "test_it.py").write_text(
        "import pytest\n\n\n" + body.format("unmarked") + "@pytest.mark.process\n" + body.format("marked")
    )
    said = pytest_run("tests", directory=tmp_path)
    assert "1 failed, 1 passed" in said
    assert "test_unmarked starts a process" in said
    assert "1 deselected" in pytest_run("tests", "--quick", directory=tmp_path)
