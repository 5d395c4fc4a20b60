"""Unchanged Nextflow, several versions of it: the conda directive alone, and tasks run in images of these packages.

It needs a Nextflow on the machine, in PATH or stored (lab/nextflow_run.py); without any these tests are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.conda_channel import ChannelServer, standard_channel
from lab.daemon import Daemon
from lab.engines import Docker
from lab.nextflow_run import Nextflow, absence, versions
from lab.registry import Registry
from lab.task_image import task_image

VERSIONS = versions()
PIPELINE = Path(__file__).with_name("pipelines") / "conda/main.nf"
SAID = [
    'said <activated: JAVA_VERSION="17.0.8" R in /opt/conda/lib/R>',
    "said <file: labtool /opt/conda>",
    "said <specs: samtools 1.17>",
]

pytestmark = [
    pytest.mark.nextflow,
    pytest.mark.registry,
    pytest.mark.docker,
    pytest.mark.skipif(bool(absence()), reason=absence() or "all there"),
    pytest.mark.timeout(150),
]
of_each_version = pytest.mark.parametrize("version", VERSIONS or ["none"])
of_the_newest = pytest.mark.parametrize("version", VERSIONS[-1:] or ["none"])


@pytest.fixture(scope="session")
def conda_node(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[Daemon]:
    """Return a daemon whose channels are the lab's."""
    directory = tmp_path_factory.mktemp("conda-node")
    channel = standard_channel(tmp_path_factory.mktemp("nextflow-channel") / "lab")
    base = registry.push("lab/task", "1", task_image())
    with ChannelServer({"conda-forge": channel, "bioconda": channel}) as server:
        settings = {"conda": {"base_image": base, "base_packages": [], "channel_alias": server.url}}
        daemon = Daemon(directory / "state", settings=settings)
        yield daemon.start()
        daemon.stop()


@of_each_version
def test_tasks_run_in_images_of_their_packages_and_resume(
    conda_node: Daemon, docker: Docker, tmp_path: Path, version: str
) -> None:
    nextflow = Nextflow(version, tmp_path, {"PATH": os.environ["PATH"], **docker.variables})
    config = (
        f"wave.enabled = true\nwave.endpoint = '{conda_node.url}'\nwave.strategy = 'conda'\n"
        "wave.build.conda.basePackages = 'procps-ng'\n"
        "docker.enabled = true\ndocker.runOptions = '--network none'\n"
    )
    first = nextflow("run", PIPELINE, config=config, seconds=120)
    assert first.status == 0, (first, conda_node.log()[-3000:])
    assert sorted(line for line in first.printed.splitlines() if line.startswith("said")) == SAID, first
    second = nextflow("run", PIPELINE, "-resume", config=config)
    assert second.status == 0, second
    assert second.printed.count("Cached process") == 3, second


@of_each_version
def test_profiles_of_nf_core_that_freeze(conda_node: Daemon, docker: Docker, tmp_path: Path, version: str) -> None:
    """`-profile docker,wave`: what has packages is frozen here, for no repository is named. It came with 23.10."""
    nextflow = Nextflow(version, tmp_path, {"PATH": os.environ["PATH"], **docker.variables})
    config = (
        f"wave.enabled = true\nwave.endpoint = '{conda_node.url}'\nwave.strategy = 'conda,container'\n"
        "wave.freeze = true\nwave.build.conda.basePackages = 'procps-ng'\n"
        "docker.enabled = true\ndocker.runOptions = '--network none'\n"
        "trace.enabled = true\ntrace.overwrite = true\ntrace.file = 'trace.txt'\ntrace.fields = 'container'\n"
    )
    first = nextflow("run", PIPELINE, config=config, seconds=120)
    assert first.status == 0, (first, conda_node.log()[-3000:])
    assert sorted(line for line in first.printed.splitlines() if line.startswith("said")) == SAID, first
    names = (tmp_path / "trace.txt").read_text().splitlines()[1:]
    place = "wt" if version < "23.10" else "frozen"
    assert len(names) == 3 and all(name.startswith(f"{conda_node.authority}/{place}/") for name in names), names
    second = nextflow("run", PIPELINE, "-resume", config=config)
    assert second.printed.count("Cached process") == 3, second


@of_the_newest
def test_the_user_reads_why_packages_cannot_be_had_together(
    conda_node: Daemon, docker: Docker, tmp_path: Path, version: str
) -> None:
    nextflow = Nextflow(version, tmp_path, {"PATH": os.environ["PATH"], **docker.variables})
    pipeline = tmp_path / "main.nf"
    pipeline.write_text("process P {\n conda 'needs-nothing-there'\n script: 'true'\n}\nworkflow { P() }\n")
    config = (
        f"wave.enabled = true\nwave.endpoint = '{conda_node.url}'\nwave.strategy = 'conda'\n"
        "docker.enabled = true\nwave.build.conda.basePackages = 'procps-ng'\n"
    )
    outcome = nextflow("run", pipeline, config=config, seconds=100)
    assert outcome.status != 0
    assert "needs-nothing-there" in outcome.printed
    assert "no-such-package >=7, for which no candidates were found" in outcome.printed, outcome
