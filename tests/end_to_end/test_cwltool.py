"""Another workflow engine, unchanged: cwltool runs a tool on an image that its DockerRequirement asks for by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groups import program
from lab.daemon import Daemon
from lab.engines import Docker, environment
from lab.processes import run

pytestmark = [pytest.mark.registry, pytest.mark.docker, pytest.mark.conda, pytest.mark.cwltool]

RUN_SECONDS = 90.0


def test_a_tool_runs_on_an_image_nobody_has_made(conda_node: Daemon, docker: Docker, tmp_path: Path) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "baseCommand": ["sh", "-c", "samtools; cat $1", "sh"],
        "requirements": {"DockerRequirement": {"dockerPull": f"{conda_node.authority}/conda/samtools:1.17"}},
        "inputs": {"reads": {"type": "File", "inputBinding": {"position": 1}}},
        "outputs": {"said": {"type": "stdout"}},
        "stdout": "said.txt",
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    (tmp_path / "reads.txt").write_text("ACGT\n")
    cwltool = program("cwltool")
    assert cwltool is not None
    command = [cwltool, "--disable-color", "--outdir", str(tmp_path / "out")]
    command += [str(tmp_path / "tool.cwl"), "--reads", str(tmp_path / "reads.txt")]
    variables = environment(**docker.variables) | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = run(command, environment=variables, seconds=RUN_SECONDS)
    assert "completed success" in done.stderr
    assert (tmp_path / "out" / "said.txt").read_text() == "samtools 1.17\nACGT\n"
