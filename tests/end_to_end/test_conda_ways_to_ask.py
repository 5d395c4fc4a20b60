"""One environment, asked for in every way that clients have: it is one image, whoever asks and however."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import conda_asks, nextflow
from lab.conda_asks import CondaSite, ask, digest, done, in_base64, lock, made
from lab.daemon import Daemon

pytestmark = pytest.mark.registry

ENTRIES = ("samtools=1.17", "lab-report")
FILE = """\
name: lab
channels:
  - conda-forge
  - nodefaults
dependencies:
  - samtools =1.17
  - lab-report
"""
FROM = "FROM mambaorg/micromamba:1.4.1\n"
CLEAN = "    && micromamba clean -a -y\n"
COPIED = (
    f"{FROM}COPY --chown=$MAMBA_USER:$MAMBA_USER conda.yml /tmp/conda.yml\n"
    "RUN micromamba install -y -n base -f /tmp/conda.yml && \\\n    micromamba clean -a -y\n"
)


@pytest.fixture(scope="module")
def asked(conda_node: Daemon) -> dict[str, str]:
    """Ask by entries, and return the answer."""
    answer = ask(conda_node, *ENTRIES)
    assert done(conda_node, answer["requestId"])["succeeded"] is True
    return answer


@pytest.fixture(scope="module")
def expected(conda_node: Daemon, asked: dict[str, str]) -> str:
    """Return the digest of the image that entries are answered by."""
    return digest(conda_node, asked["targetImage"])


def first_api(node: Daemon, container_file: str, conda_file: str = "", **more: object) -> str:
    """Ask as Nextflow 22.10 to 23.10 do, and return the image's name."""
    fields = {"containerFile": in_base64(container_file), "condaFile": in_base64(conda_file) if conda_file else None}
    unknown = ("packages", "nameStrategy", "mirror")
    answer = nextflow.post(node, path="/container-token", **(dict.fromkeys(unknown) | fields | more))
    assert answer.status == 200, answer.body
    members = answer.json()
    assert "buildId" not in members
    assert "succeeded" not in members
    assert members["requestId"] == members["containerToken"]
    return str(members["targetImage"])


def test_an_environment_file(conda_node: Daemon, expected: str) -> None:
    assert digest(conda_node, made(conda_node, environment=FILE, channels=())) == expected


def test_the_old_api_with_entries(conda_node: Daemon, expected: str) -> None:
    install = f"micromamba install -y -n base -c conda-forge -c defaults \\\n    {' '.join(ENTRIES)}"
    text = f"{FROM}RUN \\\n    {install} \\\n{CLEAN}"
    assert digest(conda_node, first_api(conda_node, text)) == expected


def test_the_old_api_with_a_file(conda_node: Daemon, expected: str) -> None:
    assert digest(conda_node, first_api(conda_node, COPIED, FILE)) == expected


def test_the_old_api_with_base_packages(conda_node: Daemon) -> None:
    text = (
        f"{FROM}RUN \\\n    micromamba install -y -n base -c conda-forge \\\n    bwa=0.7.17 \\\n"
        f"    && micromamba install -y -n base conda-forge::which \\\n{CLEAN}"
    )
    found = conda_asks.files(conda_asks.layers(conda_node, first_api(conda_node, text)))
    assert {"opt/conda/bin/bwa", "opt/conda/bin/which"} <= set(found)


def test_a_container_file_that_somebody_wrote(conda_node: Daemon) -> None:
    fields = {"containerFile": in_base64(f"{FROM}RUN micromamba install -y -n base samtools && curl -O http://x\n")}
    answer = nextflow.post(conda_node, **fields)
    assert answer.status == 501
    assert "container" in answer.json()["message"]


@pytest.mark.parametrize("form", ["explicit", "pixi", "conda-lock"])
def test_its_own_lock(conda_node: Daemon, asked: dict[str, str], expected: str, form: str) -> None:
    text = lock(conda_node, asked["buildId"], form)
    assert "samtools-1.17-h0_0.conda" in text
    assert digest(conda_node, made(conda_node, environment=text, channels=())) == expected


@pytest.mark.parametrize("form", ["explicit", "conda-lock"])
def test_its_own_lock_by_the_old_api(conda_node: Daemon, asked: dict[str, str], expected: str, form: str) -> None:
    text = lock(conda_node, asked["buildId"], form)
    assert digest(conda_node, first_api(conda_node, COPIED, text)) == expected


def test_a_list_without_checksums(conda_node: Daemon, asked: dict[str, str], expected: str) -> None:
    text = re.sub(r"(://.*)#.*", r"\1", lock(conda_node, asked["buildId"]))
    assert "sha256" not in text
    assert digest(conda_node, made(conda_node, environment=text, channels=())) == expected


@pytest.mark.parametrize("form", ["explicit", "pixi", "conda-lock"])
def test_the_url_of_a_lock(
    conda_node: Daemon, own_site: CondaSite, asked: dict[str, str], expected: str, tmp_path: Path, form: str
) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / form).write_text(lock(conda_node, asked["buildId"], form))
    own_site.server.channels["locks"] = tmp_path / "locks"
    entry = f"{own_site.server.url}/locks/{form}"
    assert digest(conda_node, made(conda_node, entry)) == expected
    text = f"{FROM}RUN \\\n    micromamba install -y -n base -c conda-forge -c defaults \\\n    -f {entry} \\\n{CLEAN}"
    assert digest(conda_node, first_api(conda_node, text)) == expected


def test_the_url_of_a_lock_that_is_not_there(conda_node: Daemon, own_site: CondaSite) -> None:
    answer = conda_asks.post(conda_node, f"{own_site.server.url}/locks/none.yml")
    assert answer.status in (400, 404)
    assert "none.yml" in answer.json()["message"]


def test_urls_of_packages(conda_node: Daemon, conda_site: CondaSite) -> None:
    url = f"{conda_site.server.channel('conda-forge')}/linux-64/which-2.21-h0_0.conda"
    assert digest(conda_node, made(conda_node, url)) == digest(conda_node, made(conda_node, "which"))


def test_the_clients_own_options_and_a_choice(conda_node: Daemon, conda_site: CondaSite) -> None:
    options = conda_asks.CLIENTS_OPTIONS | {"basePackages": "which bwa=0.7.17"}
    packages = conda_asks.packages("empty") | {"condaOpts": options}
    name = nextflow.ask(conda_node, packages=packages)["targetImage"]
    found = conda_asks.files(conda_asks.layers(conda_node, name))
    assert {"opt/conda/bin/bwa", "opt/conda/bin/which"} <= set(found)
    base = conda_asks.packages("empty") | {"condaOpts": {"baseImage": f"{conda_site.registry.host}/lab/busybox:1"}}
    document = conda_asks.manifest(conda_node, nextflow.ask(conda_node, packages=base)["targetImage"])
    busybox = conda_asks.manifest(conda_node, f"{conda_node.authority}/{conda_site.registry.host}/lab/busybox:1")
    assert document["layers"][0] == busybox["layers"][0]


@pytest.mark.parametrize(
    ("members", "status", "says"),
    [
        ({"condaOpts": {"commands": ["RUN echo"]}, "entries": ["which"]}, 501, "commands"),
        ({"type": "SPACK", "entries": ["which"]}, 501, "SPACK|Spack"),
        ({"entries": ["which", ""]}, 400, "entries"),
        ({"entries": ["which >"]}, 400, "which >"),
        ({"entries": []}, 400, "entries"),
        ({"environment": "%%%", "entries": None}, 400, "base64"),
        ({"environment": in_base64("dependencies: {}"), "entries": None}, 400, "dependencies"),
        (
            {"environment": in_base64("@EXPLICIT\nhttp://127.0.0.1:1/x/linux-64/nothing"), "entries": None},
            400,
            "nothing",
        ),
        ({"entries": ["which"], "channels": ["http://user:secret@127.0.0.1:1/x"]}, 400, "login"),
    ],
)
def test_a_mistake_is_named(conda_node: Daemon, members: dict[str, object], status: int, says: str) -> None:
    answer = nextflow.post(conda_node, packages=conda_asks.packages("which") | members)
    assert answer.status == status, answer.body
    assert any(each in answer.json()["message"] for each in says.split("|")), answer.body
    assert "secret" not in answer.body.decode()


def test_defaults_is_left_out_and_said(conda_node: Daemon) -> None:
    answer = ask(conda_node, "gdal-lab", channels=("conda-forge", "defaults"))
    done(conda_node, answer["requestId"])
    assert "defaults" in conda_asks.build_log(conda_node, answer["buildId"])


def test_a_damaged_checksum_in_a_lock(conda_node: Daemon, conda_site: CondaSite) -> None:
    url = f"{conda_site.server.channel('conda-forge')}/linux-64/twin-1.0-h0_0.conda#sha256:{'0' * 64}"
    answer = conda_asks.post(conda_node, environment=f"@EXPLICIT\n{url}\n", channels=())
    assert "twin" in conda_asks.why_not(conda_node, answer)
