"""Tasks of a workflow by plain names, without Wave: what they run in comes through wavelet.

Nextflow is real where there is one; else the container command that it writes for a task is run as it would be.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.daemon import Daemon
from lab.engines import Podman, environment
from lab.intercepted import wavelet_setup
from lab.nextflow_run import Nextflow, absence, versions
from lab.processes import run
from lab.registry import Registry
from lab.task_image import MARK, task_image

PIPELINE = Path(__file__).with_name("pipelines") / "plain/main.nf"
OPTIONS = "--network=host --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1000:1000"
"""What podman takes on this kind of machine; nothing of it is about registries."""

pytestmark = [pytest.mark.registry, pytest.mark.podman, pytest.mark.timeout(150)]


@dataclass
class Intercepted:
    """A podman that was set up, an image by its plain name, and the registry that has it."""

    programs: Path
    image: str
    registry: Registry

    def came_through_wavelet(self) -> bool:
        """Tell whether wavelet asked the registry for the image, and nobody else did."""
        log = (self.registry.directory / "registry.log").read_text("utf-8", "replace")
        asked = [line for line in log.splitlines() if "/v2/lab/intercepted/" in line and '"GET ' in line]
        return bool(asked) and all("wavelet/" in line for line in asked)


@pytest.fixture
def intercepted(registry: Registry, node: Daemon, tmp_path: Path) -> Intercepted:
    """Return a podman with a home of its own, for which `wavelet setup podman` was run."""
    podman = Podman(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    podman.program(programs / "podman")
    variables = environment(HOME=tmp_path)
    variables["PATH"] = f"{programs}:{variables['PATH']}"
    done = wavelet_setup(variables, "podman", "--registry", registry.host, "--authority", node.authority)
    assert done.returncode == 0, done.stderr
    return Intercepted(programs, registry.push("lab/intercepted", "1", task_image()), registry)


def test_a_tasks_container_command_pulls_through_wavelet(intercepted: Intercepted, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / ".command.sh").write_text("cat /etc/lab-image\n")
    task = ["run", "-i", "--rm", "--log-driver=passthrough", "-v", f"{work}:{work}", "-w", str(work), *OPTIONS.split()]
    command = [intercepted.programs / "podman", *task, intercepted.image, "/bin/bash", "-ue", ".command.sh"]
    assert run(command).stdout == MARK
    assert intercepted.came_through_wavelet()


@pytest.mark.nextflow
@pytest.mark.skipif(bool(absence()), reason=absence() or "all there")
def test_nextflow_runs_tasks_by_plain_names_without_wave(intercepted: Intercepted, tmp_path: Path) -> None:
    nextflow = Nextflow(
        versions()[-1], tmp_path / "run", {"PATH": f"{intercepted.programs}{os.pathsep}{os.environ['PATH']}"}
    )
    config = f"wave.enabled = false\npodman.enabled = true\npodman.runOptions = '{OPTIONS}'\n"
    outcome = nextflow("run", PIPELINE, "--image", intercepted.image, config=config)
    assert outcome.status == 0, outcome
    assert f"said <plain: {MARK}>" in outcome.printed
    assert intercepted.came_through_wavelet()
