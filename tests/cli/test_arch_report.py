"""`arch-report`: what it asks about, what it says, and the lines that it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import images, nextflow
from lab.command import Wavelet
from lab.conda_asks import packages
from lab.conda_packages import Package
from lab.grpc_site import Site, running_site
from lab.registry import Registry
from wavelet.cli.arch_report.processes import Process, read_processes
from wavelet.errors import InvalidRequest

ENVIRONMENT = "channels: [conda-forge]\ndependencies: [{}]\n"


def module(directory: Path, place: str, package: str, script: str = "") -> Path:
    """Write an environment file of a module, as nf-core has them, and a script beside it."""
    path = directory / place / "environment.yml"
    path.parent.mkdir(parents=True)
    path.write_text(ENVIRONMENT.format(package))
    if script:
        (path.parent / "main.nf").write_text(script)
    return path


def inspection(**containers: str | None) -> str:
    return json.dumps({"processes": [{"name": name, "container": each} for name, each in containers.items()]})


def test_processes_of_modules(tmp_path: Path) -> None:
    first = module(
        tmp_path, "modules/nf-core/samtools/sort", "samtools", "  process SAMTOOLS_SORT {\n}\nprocess B {}\n"
    )
    module(tmp_path, "modules/local/my-tool", "tool")
    module(tmp_path, "work/ab/cd", "left-out")
    module(tmp_path, ".nextflow/assets", "left-out")
    found = read_processes([str(tmp_path)])
    assert [each.name for each in found] == ["MY_TOOL", "SAMTOOLS_SORT", "B"]
    assert read_processes([str(first)])[0] == Process("SAMTOOLS_SORT", "", ENVIRONMENT.format("samtools"), str(first))
    alone = tmp_path / "own-tool" / "environment.yml"
    alone.parent.mkdir()
    alone.write_text(ENVIRONMENT.format("x"))
    assert read_processes([str(alone)])[0].name == "OWN_TOOL"


def test_an_inspection_says_which_processes_there_are(tmp_path: Path) -> None:
    (tmp_path / "inspect.json").write_text(inspection(**{"FLOW:SAMTOOLS_SORT": "a/b:1", "FLOW:FASTQC": "c/d:1"}))
    path = module(tmp_path, "modules/nf-core/samtools/sort", "samtools")
    module(tmp_path, "modules/nf-core/unused", "unused")
    assert read_processes([str(tmp_path / "modules"), str(tmp_path / "inspect.json")]) == [
        Process("FLOW:SAMTOOLS_SORT", "a/b:1", ENVIRONMENT.format("samtools"), str(path)),
        Process("FLOW:FASTQC", "c/d:1"),
    ]


def test_what_is_no_list_of_processes(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("process { withName: 'A' { container = 'b' } }")
    (tmp_path / "list.json").write_text('{"process": []}')
    (tmp_path / "empty").mkdir()
    for name, words in (("config", "-format json"), ("list.json", "nextflow inspect"), ("empty", "no environment.yml")):
        with pytest.raises(InvalidRequest, match=words):
            read_processes([str(tmp_path / name)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a daemon whose base of packages passes for every platform, with packages that are not built for all."""
    built = (Package("everywhere"), Package("everywhere", subdir="linux-aarch64"), Package("only-amd64"))

    def settings(registry: Registry) -> dict[str, Any]:
        return {"upstream": {"mislabelled": [f"{registry.host}/lab/busybox"]}}

    with running_site(tmp_path_factory.mktemp, built, [], settings) as running:
        running.registry.push("lab/both", "1", images.two_architectures())
        running.registry.push("lab/amd64", "1", images.image([images.layer({"a": b"a"})]))
        yield running


def asked_for(site: Site, **request: Any) -> str:
    """Return the name that a daemon gives for a container, as `nextflow inspect` prints it."""
    return str(nextflow.ask(site.node, **request)["targetImage"])


@pytest.mark.registry
@pytest.mark.conda
def test_what_a_pipeline_lacks(site: Site, wavelet: Wavelet, tmp_path: Path) -> None:
    host = site.registry.host
    config = {"env": ["A=1"]}
    given = inspection(
        BOTH=f"{host}/lab/both:1",
        ONLY=f"docker://{host}/lab/amd64:1",
        WAVED=asked_for(site, containerImage=f"{host}/lab/amd64:1", containerConfig=config),
        WAVED_BOTH=asked_for(site, containerImage=f"{host}/lab/both:1", containerConfig=config),
        CONDA=asked_for(site, packages=packages("only-amd64")),
        CONDA_BOTH=asked_for(site, packages=packages("everywhere")),
        FROZEN=asked_for(site, containerImage=f"{host}/lab/amd64:1", freeze=True),
        FROZEN_CONDA=asked_for(site, packages=packages("only-amd64"), freeze=True),
        FROZEN_BOTH=asked_for(site, containerImage=f"{host}/lab/both:1", freeze=True),
        NAMED=f"{site.node.authority}/conda/only-amd64:1.0",
        **{"FLOW:MODULE": f"{host}/lab/both:1", "FLOW:BETTER": f"{host}/lab/amd64:1"},
        FILE="/images/a.sif",
        GONE=f"{host}/lab/never:1",
        OTHERS=f"{site.node.authority}/wt/{'0' * 32}/lab/both:1",
        NONE=None,
    )
    module(tmp_path, "modules/nf-core/module", "only-amd64")
    module(tmp_path, "modules/nf-core/better", "everywhere")
    said = wavelet("arch-report", "-", str(tmp_path / "modules"), "-o", "json", stdin=given)
    assert said.code == 1, said.err
    report = json.loads(said.out)
    states = {each["name"]: each["state"] for each in report["processes"]}
    assert states == {
        "BOTH": "there",
        "ONLY": "missing",
        "WAVED": "missing",
        "WAVED_BOTH": "there",
        "CONDA": "missing",
        "CONDA_BOTH": "there",
        "FROZEN": "missing",
        "FROZEN_CONDA": "missing",
        "FROZEN_BOTH": "there",
        "NAMED": "missing",
        "FLOW:MODULE": "missing",
        "FLOW:BETTER": "there",
        "FILE": "unknown",
        "GONE": "failing",
        "OTHERS": "unknown",
        "NONE": "none",
    }
    reasons = {each["name"]: each["reason"] for each in report["processes"]}
    assert reasons["ONLY"].startswith(f"{host}/lab/amd64@sha256:")
    assert reasons["ONLY"].endswith(" has no linux/arm64; it has linux/amd64")
    assert reasons["CONDA"] == "only-amd64 is built for linux-64, and neither for linux-aarch64 nor for noarch"
    assert "no container request has the token" in reasons["OTHERS"]
    lines = [f"    withName: '{name}' {{ arch = 'amd64' }}" for name, state in states.items() if state == "missing"]
    assert report["config"].splitlines() == ["process {", *lines, "}"]


@pytest.mark.registry
@pytest.mark.conda
def test_the_report_ends_with_the_lines_to_paste(site: Site, wavelet: Wavelet) -> None:
    given = inspection(BOTH=f"{site.registry.host}/lab/both:1", ONLY=f"{site.registry.host}/lab/amd64:1")
    said = wavelet("arch-report", "-", stdin=given)
    assert said.code == 1
    assert [line.split()[:2] for line in said.out.splitlines()[:3]] == [
        ["process", "linux/arm64"],
        ["BOTH", "there"],
        ["ONLY", "missing"],
    ]
    assert said.out.endswith("\nprocess {\n    withName: 'ONLY' { arch = 'amd64' }\n}\n")
    there = wavelet("arch-report", "-", "--platform", "linux/amd64", stdin=given)
    assert (there.code, "process {" in there.out) == (0, False)
    assert wavelet("arch-report", "-", "--platform", "linux/z80", stdin=given).code == 2
    assert wavelet("arch-report", "-", stdin='{"processes": []}').code == 2
