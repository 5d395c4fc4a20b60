"""Unchanged Nextflow, several versions of it: tasks run in what the daemon answers, and users see what it says.

It needs a Nextflow on the machine, in PATH or stored (lab/nextflow_run.py); without any these tests are skipped.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.daemon import Daemon
from lab.engines import Docker, Podman
from lab.nextflow_run import Nextflow, absence, versions
from lab.registry import Registry
from lab.task_image import MARK, task_image

VERSIONS = versions()
PIPELINE = Path(__file__).with_name("pipelines") / "bundle/main.nf"
SAID = [f"said <bundled: {MARK}; greet: hello from /usr/bin/greet>", f"said <plain: {MARK}; greet: none>"]

DOCKER = "docker.enabled = true\ndocker.runOptions = '--network none'\n"
PODMAN = (
    "podman.enabled = true\npodman.runOptions = '--tls-verify=false --network=host --cgroups=disabled "
    "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000'\n"
)

pytestmark = [
    pytest.mark.nextflow,
    pytest.mark.registry,
    pytest.mark.skipif(bool(absence()), reason=absence() or "all there"),
    pytest.mark.timeout(150),
]
of_each_version = pytest.mark.parametrize("version", VERSIONS or ["none"])
of_the_newest = pytest.mark.parametrize("version", VERSIONS[-1:] or ["none"])


@pytest.fixture(scope="session")
def source(registry: Registry) -> str:
    """Return the name of an image that tasks can run in."""
    return registry.push("lab/task", "1", task_image())


@pytest.fixture
def settings(node: Daemon, source: str) -> str:
    """Return the nextflow.config that all tests share."""
    return (
        f"wave.enabled = true\nwave.endpoint = '{node.url}'\nparams.image = '{source}'\n"
        "trace.enabled = true\ntrace.overwrite = true\ntrace.file = 'trace.txt'\n"
        "trace.fields = 'name,status,container'\n"
    )


@pytest.fixture
def with_docker(docker: Docker, tmp_path: Path) -> Callable[[str], Nextflow]:
    """Return a function that prepares a version to run tasks by docker."""
    return lambda version: Nextflow(version, tmp_path, {"PATH": os.environ["PATH"], **docker.variables})


@pytest.fixture
def with_podman(podman: Podman, tmp_path: Path) -> Callable[[str], Nextflow]:
    """Return a function that prepares a version to run tasks by podman."""
    programs = tmp_path / "bin"
    programs.mkdir()
    podman.program(programs / "podman")
    return lambda version: Nextflow(version, tmp_path, {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})


def trace(directory: Path) -> dict[str, tuple[str, str]]:
    """Return the status and container of each task of the last run."""
    with (directory / "trace.txt").open() as file:
        return {row["name"]: (row["status"], row["container"]) for row in csv.DictReader(file, delimiter="\t")}


def run_and_resume(nextflow: Nextflow, config: str, directory: Path, node: Daemon) -> None:
    first = nextflow("run", PIPELINE, config=config)
    assert first.status == 0, first
    assert sorted(line for line in first.printed.splitlines() if line.startswith("said")) == SAID, first
    tasks = trace(directory)
    assert {name: status for name, (status, _) in tasks.items()} == {"PLAIN": "COMPLETED", "BUNDLED": "COMPLETED"}
    names = {container for _, container in tasks.values()}
    assert len(names) == 2
    assert all(name.startswith(f"{node.authority}/wt/") and name.endswith("/lab/task:1") for name in names), names

    second = nextflow("run", PIPELINE, "-resume", config=config)
    assert second.status == 0, second
    assert trace(directory) == {name: ("CACHED", container) for name, (_, container) in tasks.items()}, second


@pytest.mark.docker
@of_each_version
def test_docker_tasks_run_in_the_image_with_their_bundle_and_resume(
    with_docker: Callable[[str], Nextflow], settings: str, tmp_path: Path, node: Daemon, version: str
) -> None:
    run_and_resume(with_docker(version), settings + DOCKER, tmp_path, node)


@pytest.mark.podman
@of_the_newest
def test_podman_tasks_run_in_the_image_with_their_bundle_and_resume(
    with_podman: Callable[[str], Nextflow], settings: str, tmp_path: Path, node: Daemon, version: str
) -> None:
    run_and_resume(with_podman(version), settings + PODMAN, tmp_path, node)


@pytest.mark.docker
@of_each_version
def test_the_user_reads_that_an_image_is_missing(
    with_docker: Callable[[str], Nextflow], settings: str, registry: Registry, version: str
) -> None:
    absent = f"{registry.host}/lab/absent:1"
    outcome = with_docker(version)("run", PIPELINE, "--image", absent, config=settings + DOCKER)
    assert outcome.status != 0
    assert f"{registry.host} has no image {absent}" in outcome.printed, outcome


@pytest.mark.docker
@of_the_newest
def test_inspect_prints_the_names_that_a_run_uses(
    with_docker: Callable[[str], Nextflow], settings: str, tmp_path: Path, version: str
) -> None:
    nextflow = with_docker(version)
    inspected = nextflow("inspect", PIPELINE, config=settings + DOCKER)
    assert inspected.status == 0, inspected
    assert nextflow("run", PIPELINE, config=settings + DOCKER).status == 0
    named = {each["name"]: each["container"] for each in json.loads(inspected.printed)["processes"]}
    assert named == {name: container for name, (_, container) in trace(tmp_path).items()}
