"""The name is the request: engines pull `conda/<spec>…:<tag>` and nobody has asked for it before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_asks
from lab.conda_asks import CondaSite, digest, made
from lab.daemon import Daemon
from lab.engines import Docker, Engine, skopeo
from lab.processes import LabError

pytestmark = pytest.mark.registry


def test_one_package_with_its_version(conda_node: Daemon, engine: Engine) -> None:
    name = f"{conda_node.authority}/conda/samtools:1.17"
    engine.pull(name)
    assert engine.run(name, "samtools") == "samtools 1.17\n"


def test_several_packages_and_conditions(conda_node: Daemon, engine: Engine) -> None:
    name = f"{conda_node.authority}/conda/samtools__1.17/bwa__lt0.7.18/lab-report:latest"
    engine.pull(name)
    said = engine.run(name, "/bin/bash", "-c", "samtools; bwa; python3 -c 'print(1 + 1)'")
    assert said == "samtools 1.17\nbwa 0.7.17\n2\n"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("samtools:latest", "1.18"),
        ("samtools/date--2023-12-15:latest", "1.17"),
        ("samtools/date--2023-12-15t120000z:latest", "1.17"),
        ("samtools/channel--bioconda:1.17", "1.17"),
        ("samtools/channel--conda-forge/channel--bioconda:1.18", "1.18"),
        ("samtools/add--which:1.17", "1.17"),
        ("samtools:1.17--h0_0", "1.17"),
    ],
)
def test_what_else_a_name_says(conda_node: Daemon, name: str, version: str) -> None:
    found = conda_asks.files(conda_asks.layers(conda_node, f"{conda_node.authority}/conda/{name}"))
    assert found["opt/conda/share/samtools/version.txt"] == f"{version}\n".encode()
    assert ("opt/conda/bin/which" in found) == ("which" in name)


@pytest.mark.docker
def test_by_digest_once_it_is_known(conda_node: Daemon, docker: Docker) -> None:
    name = f"{conda_node.authority}/conda/bwa"
    expected = digest(conda_node, f"{name}:0.7.17")
    docker.pull(f"{name}@{expected}")
    assert docker.run(f"{name}@{expected}", "bwa") == "bwa 0.7.17\n"


def test_a_name_and_a_request_give_one_image(conda_node: Daemon) -> None:
    asked = digest(conda_node, made(conda_node, "samtools=1.17"))
    assert digest(conda_node, f"{conda_node.authority}/conda/samtools:1.17") == asked


def test_the_tags_that_were_answered_are_listed(conda_node: Daemon) -> None:
    """Fault G11: of a name of packages; another name's are not among them, and nothing is that is not there."""
    name = f"{conda_node.authority}/conda/bwa/add--which"
    path = "/v2/conda/bwa/add--which/tags/list"
    assert conda_node.get(path).json()["tags"] == ["latest"]
    digest(conda_node, f"{name}:0.7.17")
    digest(conda_node, f"{name}:0.7.17--h0_0")  # the same image by another tag
    assert conda_node.get(path).json()["tags"] == ["0.7.17", "0.7.17--h0_0", "latest"]
    assert conda_node.get(f"{path}?n=1&last=0.7.17").json()["tags"] == ["0.7.17--h0_0"]
    for tag in ("9.9", "ge1__", ".INVALID", "a--"):
        answer = conda_node.get(f"/v2/conda/bwa/add--which/manifests/{tag}")
        assert answer.status == 404, (tag, answer.body)
        assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


UNSOLVABLE = [
    ("no-such-package:1.0", "no-such-package"),
    ("samtools:9.9", "samtools 9.9"),
    ("needs-nothing-there:latest", "nothing-there"),
    ("needs-old-samtools/samtools__1.18:latest", "needs-old-samtools"),
]


@pytest.mark.skopeo
@pytest.mark.parametrize(("name", "says"), UNSOLVABLE)
def test_the_solver_explains_to_who_pulls(conda_node: Daemon, name: str, says: str) -> None:
    with pytest.raises(LabError) as failed:
        skopeo("inspect", "--tls-verify=false", f"docker://{conda_node.authority}/conda/{name}")
    assert says in str(failed.value).partition(" ended with ")[2]


def test_every_engine_shows_the_explanation(conda_node: Daemon, engine: Engine) -> None:
    with pytest.raises(LabError) as failed:
        engine.pull(f"{conda_node.authority}/conda/needs-old-samtools/samtools__1.18:latest")
    assert "needs-old-samtools" in str(failed.value).partition(" ended with ")[2]


@pytest.mark.parametrize(
    "name", ["Samtools:1.17", "samtools/bwa:1.17", "samtools/nonsense--x:1.17", "date--2023-12-15:1"]
)
def test_a_name_that_is_none(conda_node: Daemon, name: str) -> None:
    path, _, tag = name.rpartition(":")
    answer = conda_node.get(f"/v2/conda/{path}/manifests/{tag}", Accept=conda_asks.ACCEPT)
    assert answer.status in (400, 404)
    assert answer.json()["errors"][0]["message"]


def test_a_mirror_of_docker_hub_has_no_such_names(
    start_daemon: Callable[..., Daemon], conda_site: CondaSite, tmp_path: Path
) -> None:
    node = start_daemon(settings=conda_site.settings(more={"reserved_names": False}))
    answer = node.get("/v2/conda/samtools/manifests/1.17?ns=127.0.0.1:1", Accept=conda_asks.ACCEPT)
    assert answer.status >= 400
    assert "samtools" not in node.log() or "solving" not in node.log()
