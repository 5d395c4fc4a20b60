"""What docs/grpc.md shows: its Python code as it stands, and the engine plug-in, run against a daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.daemon import environment
from lab.grpc_site import Site
from lab.processes import run

pytestmark = [pytest.mark.registry, pytest.mark.conda]

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"^```python\n(.*?)^```", (DOCS / "grpc.md").read_text(), re.DOTALL | re.MULTILINE)
PLUG_IN = DOCS / "examples" / "engine_plugin.py"
EXCERPTS = [block for block in BLOCKS if block.rstrip() in PLUG_IN.read_text()]
SOCKET_BLOCKS = [block for block in BLOCKS if block not in EXCERPTS and "Tls" not in block]
ECHO = (sys.executable, "-c", "import sys; sys.stderr.write(' '.join(['ran', *sys.argv[1:]]) + '\\n')", "{image}")


def plug_in(site: Site, tasks: Path) -> subprocess.CompletedProcess[str]:
    """Run the plug-in's engine on a file of tasks."""
    socket = environment({"WAVELET_SOCKET": site.user.removeprefix("unix:")})
    command = [sys.executable, PLUG_IN, tasks, "--", *ECHO]
    return run(command, environment=socket, check=False)


def test_the_guide_shows_what_is_tested() -> None:
    assert len(SOCKET_BLOCKS) >= 4
    assert any("class Containers" in block for block in EXCERPTS), "the guide's plug-in is not the one in the file"


@pytest.mark.parametrize("number", range(len(SOCKET_BLOCKS)))
def test_the_guides_code_runs(site: Site, number: int) -> None:
    socket = environment({"WAVELET_SOCKET": site.user.removeprefix("unix:")})
    code = SOCKET_BLOCKS[number].replace("registry.example", site.registry.host)
    printed = run([sys.executable, "-c", code], environment=socket).stdout
    assert printed
    assert "not" not in printed, "an image or package of the guide is not there"


def test_the_plug_in_runs_tasks(site: Site, tmp_path: Path) -> None:
    tasks = [
        {"name": "hello", "command": ["hello"], "image": site.image},
        {"name": "sort", "command": ["sort"], "packages": ["bwa=0.7"]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    done = plug_in(site, tmp_path / "tasks.json")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^ran {site.node.authority}/wt/\w+/lab/busybox:1 hello$", done.stderr, re.MULTILINE), done
    assert re.search(rf"^ran {site.node.authority}/wt/\S+ sort$", done.stderr, re.MULTILINE), done
    for event in ("solving", "making", "packages 2/2"):
        assert f"sort: {event}\n" in done.stdout


def test_the_plug_in_tells_faults_apart(site: Site, tmp_path: Path) -> None:
    tasks = [
        {"name": "typo", "command": ["x"], "image": f"{site.registry.host}/lab/absent:1"},
        {"name": "unsolvable", "command": ["x"], "packages": ["no-such-package"]},
        {"name": "good", "command": ["x"], "image": site.image},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    done = plug_in(site, tmp_path / "tasks.json")
    assert done.returncode == 1
    assert re.search(r"^typo: refused: ", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert re.search(r"^unsolvable: refused: ", done.stdout, re.MULTILINE)
    assert re.search(r"^ran \S+ x$", done.stderr, re.MULTILINE)
