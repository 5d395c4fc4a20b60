"""The README's two commands, from a clean clone: `make run` serves, `make test` runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.http import answers, get
from lab.processes import Background, run, stopping

pytestmark = [pytest.mark.clone, pytest.mark.timeout(420)]

REPOSITORY = Path(__file__).parents[1]
SERVES = re.compile(r"wave\.endpoint\s*=\s*'(http://[^']+)'")
"""The line by which `make run` shows that it serves."""

RUN_SECONDS = 240.0
TEST_SECONDS = 120.0
INDEX_SECONDS = 40.0


def environment(**more: str) -> dict[str, str]:
    """Return this environment as a newcomer's shell has it: no virtual environment, no settings of tests."""
    left_out = ("VIRTUAL_ENV", "PYTEST_ADDOPTS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    kept = {n: v for n, v in os.environ.items() if n not in left_out and not n.startswith(("WAVELET_", "PYTEST_"))}
    # What pip compiles is mostly never imported here.
    return kept | {"PIP_NO_COMPILE": "1"} | more


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a clean clone of HEAD; skip where there is none to be had, or no package index."""
    for tool in ("git", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    if run(["git", "-C", REPOSITORY, "rev-parse", "HEAD"], check=False).returncode != 0:
        pytest.skip("needs a git checkout")
    place = tmp_path_factory.mktemp("clone")
    # Asks for what is there already, so that an index that answers is all that is needed.
    asked = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--retries=0",
        "--timeout=10",
        "--dest",
        place,
        "hatchling",
    ]
    if run(asked, environment=environment(), seconds=INDEX_SECONDS, check=False).returncode != 0:
        pytest.skip("needs a package index, and none answers")
    run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, place / "wavelet"])
    yield place / "wavelet"
    shutil.rmtree(place)


def test_make_run_serves(clone: Path, tmp_path: Path, free_port: int) -> None:
    settings = {"WAVELET_LISTEN": f"127.0.0.1:{free_port}", "WAVELET_STATE": str(tmp_path / "state")}
    made = Background(["make", "-C", str(clone), "run"], tmp_path / "run.log", environment(**settings))
    with stopping(made):
        made.wait_until(lambda: SERVES.search(made.log()) is not None, RUN_SECONDS)
        found = SERVES.search(made.log())
        assert found is not None
        assert get(f"{found[1]}/readyz").status == 200
        assert get(f"{found[1]}/service-info").status == 200
        os.killpg(made.pid, signal.SIGINT)
        made.process.wait(30)
        assert not answers(found[1]), "nothing is left behind"
    assert "Traceback" not in made.log()


def test_make_test_runs(clone: Path) -> None:
    done = run(
        ["make", "-C", clone, "test"],
        environment=environment(PYTEST_ADDOPTS="tests/test_imports.py", PYTEST_XDIST_AUTO_NUM_WORKERS="1"),
        seconds=TEST_SECONDS + RUN_SECONDS,
    )
    assert re.search(r"\d+ passed", done.stdout)
