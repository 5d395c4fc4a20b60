"""Environments are pulled and run by real engines: programs start, activation works, layers add up."""

from __future__ import annotations

import pytest

from lab import conda_asks, images, nextflow
from lab.conda_asks import CondaSite, made
from lab.conda_python import VERSION
from lab.daemon import Daemon
from lab.engines import Docker, Engine
from lab.task_image import MARK

pytestmark = pytest.mark.registry

EVERYTHING = (
    "python",
    "samtools=1.17",
    "meta",
    "labext",
    "clobber-a",
    "clobber-b",
    "oddnames",
    "symlinks",
    "hardlinks",
    "modes",
    "prefixes",
    "oldstyle",
    "ancient",
    "procps-ng",
)
ACTIVATED = ("openjdk", "r-base", "gdal-lab", "lab-settings")
SCRIPT = r"""
python -c 'import sys, sqlite3, ssl; print("python", sys.version.split()[0], sys.prefix)'
labtool one two
lab-tool2 three
lab-report
python -c 'import labext; print("labext", labext.PREFIX)'
samtools; samtools --prefix
clobber; cat /opt/conda/share/clobber/both
cat "/opt/conda/share/oddnames/naïve café.txt"; echo; cat "/opt/conda/share/oddnames/日本語/ファイル"; echo
hard-b | tail -n 1 || true
test /opt/conda/bin/hard-a -ef /opt/conda/bin/hard-b && echo one inode
stat -c %a /opt/conda/share/modes/0600 /opt/conda/share/modes/4755
stat -c %Y /opt/conda/share/modes/future
readlink /opt/conda/share/symlinks/dangling
head -n 1 /opt/conda/bin/ancient /opt/conda/bin/oldstyle | grep '#!'
ps -o comm= -p $$
cat /etc/lab-image; echo
ls /opt/conda/conda-meta | grep -c json
"""


with_entry_points = pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("docker", "podman")], indirect=True
)
"""ctr takes no notice of entry points."""


@pytest.fixture(scope="module")
def everything(conda_node: Daemon) -> str:
    """Return the name of an image with packages of every shape."""
    return made(conda_node, *EVERYTHING)


@pytest.fixture(scope="module")
def activated(conda_node: Daemon) -> str:
    """Return the name of an image of packages that count on activation."""
    return made(conda_node, *ACTIVATED)


def test_packages_of_every_shape(engine: Engine, everything: str) -> None:
    engine.pull(everything)
    said = engine.run(everything, "/bin/bash", "-uec", SCRIPT)
    for line in (
        f"python {VERSION} /opt/conda",
        "labext /opt/conda",
        "samtools 1.17",
        "/opt/conda",
        "b\nb",
        "naïve café.txt\n日本語/ファイル",
        "one inode",
        "644\n755",
        "4000000000",
        "nothing/here",
        "#!/opt/conda/bin/sh",
        "bash",
        MARK,
    ):
        assert f"{line}\n" in said, line


@pytest.mark.docker
def test_programs_are_called_without_a_shell(docker: Docker, everything: str) -> None:
    docker.pull(everything)
    assert docker.run(everything, "samtools") == "samtools 1.17\n"
    assert docker.run(everything, "bash", "-lc", "samtools") == "samtools 1.17\n", "/etc/profile sets PATH anew"
    assert docker.run(everything, "labtool").startswith("labtool")
    assert docker.run(everything, "samtools", "busybox", "echo", "a real program") == "a real program\n"


def test_activation_where_nextflow_runs_a_task(engine: Engine, activated: str) -> None:
    engine.pull(activated)
    script = 'java; Rscript; echo "$GDAL_DATA|$LAB_COLOUR|$LAB_DB|$LAB_QUOTES|$CONDA_PREFIX"; bash -uec java'
    said = engine.run(activated, "/bin/bash", "-uec", script)
    java = 'JAVA_VERSION="17.0.8"\n'
    settings = "/opt/conda/share/gdal|deep blue|/opt/conda/share/db|a'b\"c$d|/opt/conda\n"
    assert said == f"{java}R in /opt/conda/lib/R\n{settings}{java}"


@with_entry_points
def test_activation_where_a_tool_is_run(engine: Engine, activated: str) -> None:
    engine.pull(activated)
    assert engine.run(activated, "java") == 'JAVA_VERSION="17.0.8"\n'
    assert engine.run(activated, "Rscript") == "R in /opt/conda/lib/R\n"


@pytest.mark.docker
def test_activation_as_nextflow_starts_a_task(conda_node: Daemon, docker: Docker) -> None:
    """Nextflow's command for docker: the entry point replaced by bash where it is set, bash -c as the command."""
    name = made(conda_node, "openjdk", config={"env": ["MINE=1"]})
    docker.pull(name)
    assert docker.run(name, "/bin/bash", "-c", "eval java; /bin/bash -ue -c 'java; echo $MINE'").endswith("1\n")


def test_a_bundle_and_settings_on_top(conda_node: Daemon, engine: Engine) -> None:
    report = b'#!/bin/bash -ue\necho "$OWN|$LAB_COLOUR|$PWD|$(samtools)|$(cat /opt/conda/share/samtools/version.txt)"\n'
    bundle = images.layer(
        {"usr/local/bin/report.sh": report, "opt/conda/share/samtools/version.txt": b"mine\n"},
        executable=["usr/local/bin/report.sh"],
    )
    config = {"env": ["OWN=asked", "LAB_COLOUR=red"], "workingDir": "/opt", "layers": [bundle.in_request()]}
    name = made(conda_node, "samtools=1.17", "lab-settings", config=config)
    engine.pull(name)
    assert engine.run(name, "report.sh") == "asked|red|/opt|samtools 1.17|mine\n"


@pytest.mark.docker
def test_activation_stays_with_a_bundle_and_an_entry_point(conda_node: Daemon, docker: Docker) -> None:
    entry = images.layer({"opt/entry.sh": b'#!/bin/bash\necho "entered"\nexec "$@"\n'}, executable=["opt/entry.sh"])
    config = {"layers": [entry.in_request()], "entrypoint": ["/opt/entry.sh"]}
    name = made(conda_node, "openjdk", config=config)
    docker.pull(name)
    assert docker.run(name, "/bin/bash", "-uec", "java") == 'entered\nJAVA_VERSION="17.0.8"\n'


def test_layers_of_another_image_on_top(conda_node: Daemon, conda_site: CondaSite, engine: Engine) -> None:
    included = images.image([images.layer({"included/file": b"of the included image\n"})])
    source = conda_site.registry.push("lab/conda-included", "1", included)
    name = made(conda_node, "samtools=1.17", containerIncludes=[source])
    engine.pull(name)
    assert (
        engine.run(name, "/bin/bash", "-c", "samtools; cat /included/file") == "samtools 1.17\nof the included image\n"
    )


def test_variables_of_an_environment_file(conda_node: Daemon) -> None:
    file = "dependencies: [which]\nvariables: {FROM_FILE: yes it is, OWN: file}\n"
    name = made(conda_node, environment=file, config={"env": ["OWN=asked"]})
    environment = conda_asks.config(conda_node, name)["config"]["Env"]
    assert {"FROM_FILE=yes it is", "OWN=asked", "CONDA_PREFIX=/opt/conda"} <= set(environment)


def test_every_layer_says_what_it_is(conda_node: Daemon, everything: str) -> None:
    document = conda_asks.manifest(conda_node, everything)
    config = conda_asks.config(conda_node, everything, document)
    tars = conda_asks.layers(conda_node, everything, document)
    history = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(history) == len(tars) <= 120
    said = "\n".join(json_text for entry in history for json_text in entry.values() if isinstance(json_text, str))
    for package in ("samtools 1.17 h0_0", "lab-report 1.19 ", "clobber-b 1.0 h0_0"):
        assert package in said
    assert set(document["layers"][1]) >= {"mediaType", "digest", "size"}


def test_a_dry_run_names_the_image(conda_node: Daemon) -> None:
    answer = nextflow.ask(conda_node, packages=conda_asks.packages("bwa=0.7.17"), dryRun=True)
    assert answer["succeeded"] is True
    assert answer["targetImage"].startswith(f"{conda_node.authority}/wt/")
