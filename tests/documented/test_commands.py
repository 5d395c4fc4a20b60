"""Every command that README.md and docs/ show is run: here as it stands, or by the test that is named for it.

Two things are changed in a command before it runs: the port of the daemon, and where the sockets and files of a machine
would be. Registries and channels of the world are stood in for by mirrors, as a site's settings name them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from documented.commands import ROOT, Command, documented
from lab import images
from lab.conda_asks import CHANNEL, CondaSite
from lab.conda_channel import ChannelServer, make_channel
from lab.conda_packages import Package
from lab.daemon import Daemon, environment
from lab.engines import Docker
from lab.ports import free_port
from lab.processes import Background, wait_for
from lab.registry import Registry
from lab.task_image import task_image

pytestmark = [pytest.mark.registry, pytest.mark.conda]

RUN_SECONDS = 60

ELSEWHERE = {
    r"make run": "test_fresh_clone.py",
    r"make test": "test_groups.py",
    r"make (wheel|tarball|image)": "packaging",
    r"pip install": "packaging",
    r"tar -xzf|ln -s /opt": "packaging",
    r"docker (load|run -d)": "packaging",
    r"docker (tag|push) |wavelet cache gc local/": "end_to_end/test_hosted.py",
    r"wavelet login (?!--)|pass ": "cli/test_login.py",
    r"systemctl|systemd-analyze": "host",
    r"wavelet arch-report": "cli/test_arch_report.py",
    r"wavelet mirror|nextflow inspect .* wavelet mirror": "cli/test_mirror_command.py",
    r"wavelet pull --(sif|unpack|oci)|nextflow inspect .* wavelet pull --sif-dir": "cli/pull",
    r"wavelet resolve .*registry\.example": "cli/test_resolve.py",
    r"wavelet rules check|nextflow inspect .* wavelet rules check": "cli/rules",
    r"wavelet pack (check|build)": "cli/packs",
    r"wavelet pack show": "cli/test_site_decisions.py",
    r"wavelet install-service": "cli/test_install_service.py",
    r"kubectl": "nextflow_config",
    r"grpcurl": "front/grpc",
    r"apptainer\.": "nextflow_config",
    r"apptainer pull oras:": "end_to_end/test_sif_downloads.py",
}
"""Commands that other tests run, or what they do: a pattern of their beginning, and where in `tests/`."""

STAND_INS = {
    "nextflow": """case "$1" in
inspect) echo '{"processes": [{"name": "A", "container": "docker.io/library/busybox:1.36"}]}' ;;
*) echo "nextflow asks $WAVE_API_ENDPOINT" ;;
esac
"""
}
"""Programs of others that a command starts. Real Nextflow is run by tests/end_to_end."""

COMMANDS = list(dict.fromkeys(command.text for command in documented()))
HERE = [text for text in COMMANDS if not any(re.match(pattern, text) for pattern in ELSEWHERE)]


@pytest.mark.parametrize("where", sorted(set(ELSEWHERE.values())))
def test_other_tests_are_there(where: str) -> None:
    assert (ROOT / "tests" / where).exists()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Return a daemon whose site mirrors the registries and channels that the pages name."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    channel = tmp_path_factory.mktemp("channel")
    make_channel(channel, (Package("samtools", "1.17"), Package("bwa", "0.7.17"), Package("procps-ng", "4.0")))
    registry.start()
    for repository, tag in (("library/busybox", "1.36"), ("my/image", "1"), ("org/image", "1")):
        registry.push(repository, tag, images.busybox())
    registry.push("biocontainers/samtools", "1.17--hd87286a_2", images.busybox())
    base = registry.push("library/ubuntu", "24.04", task_image())
    mirrors = {host: {"mirrors": [registry.url]} for host in ("docker.io", "quay.io", "localhost:5000")}
    try:
        with ChannelServer({CHANNEL: channel, "conda-forge": channel, "bioconda": channel}) as server:
            settings = CondaSite(registry, server, base).settings(more={"upstream": {"registries": mirrors}})
            daemon = Daemon(tmp_path_factory.mktemp("node") / "state", settings=settings)
            yield daemon.start()
            daemon.stop()
    finally:
        registry.stop()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Return a Docker engine."""
    with Docker(tmp_path_factory.mktemp("docker")).running() as engine:
        yield engine


@pytest.fixture(scope="module")
def token(node: Daemon) -> str:
    """Return the token of a container request."""
    from lab import nextflow

    return str(nextflow.ask(node, containerImage="docker.io/library/busybox:1.36")["requestId"])


@pytest.mark.parametrize("text", HERE)
def test_the_command_runs(text: str, node: Daemon, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if text.startswith("wavelet serve"):
        _serves(text, tmp_path)
        return
    variables = _variables(node, tmp_path)
    if re.match(r"docker ", text) or "--into docker" in text:
        variables |= request.getfixturevalue("docker").variables
    adapted = _adapted(text, node, tmp_path)
    if re.search(r"<token>|TOKEN", adapted):
        adapted = re.sub(r"<token>|TOKEN", request.getfixturevalue("token"), adapted)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", adapted],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
        timeout=RUN_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    _end_private(tmp_path)
    assert done.returncode == 0, f"{adapted}\n{done.stdout}\n{done.stderr}"


def _serves(text: str, directory: Path) -> None:
    """Start the daemon as the page does, on a port and in a directory of its own, until it is ready."""
    synopsis = re.findall(r"\[(--\w+) \w[\w:]*\]", text)
    shown = subprocess.run(
        [sys.executable, "-m", "wavelet.cli.main", "serve", "--help"], check=True, capture_output=True, text=True
    ).stdout
    assert all(option in shown for option in synopsis)
    port = free_port()
    own = environment({"WAVELET_LISTEN": f"127.0.0.1:{port}", "WAVELET_STATE": str(directory / "state")})
    command = [sys.executable, "-m", "wavelet.cli.main", *re.sub(r"\[.*", "", text).split()[1:]]
    process = Background(command, directory / "log", own)
    process.wait_until(lambda: "serving" in process.log(), RUN_SECONDS)
    assert process.stop() == 0


def _variables(node: Daemon, directory: Path) -> dict[str, str]:
    programs = directory / "bin"
    programs.mkdir()
    for name, script in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}")
        (programs / name).chmod(0o755)
    home = directory / "home"
    home.mkdir()
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return environment(
        {
            "PATH": path,
            "HOME": str(home),
            "TMPDIR": str(directory),
            "WAVELET_SOCKET": str(node.state / "wavelet.sock"),
            "WAVELET_PRIVATE_PORT": str(free_port()),
            "WAVELET_PRIVATE_DIRECTORY": str(directory / "private"),
        }
    )


def _adapted(text: str, node: Daemon, directory: Path) -> str:
    adapted = _below_root(text, directory)
    adapted = adapted.replace("127.0.0.1:9090", node.authority).replace("/shared/", f"{directory}/shared/")
    if re.match(r"wavelet status\b", adapted):
        adapted += f" --address {node.authority}"
    if re.match(r"wavelet doctor\b", adapted):
        adapted += " || test $? = 1"  # a test machine has its problems
    if "wavelet arch-report" in adapted:
        adapted += " || test $? = 1"  # what Nextflow's stand-in names is there for one platform
    return adapted


def _below_root(text: str, directory: Path) -> str:
    """Have what is set up for a whole node written below a directory: engines of this machine read the real files."""
    if re.match(r"wavelet setup (docker|containerd)\b|wavelet setup \w+ --system\b", text):
        return f"{text} --root {directory}/node"
    return text


def _end_private(directory: Path) -> None:
    """End the daemon that a command has started for itself."""
    for path in directory.glob("private/**/lock"):
        owner = path.read_text().strip()
        if owner.isdecimal() and Path(f"/proc/{owner}").exists():
            os.kill(int(owner), 15)
            wait_for(lambda owner=owner: not Path(f"/proc/{owner}").exists(), f"the end of process {owner}", 20.0)


def test_the_pages_have_commands() -> None:
    assert isinstance(documented()[0], Command)
    assert len(COMMANDS) > 30


def test_nothing_is_set_up_for_the_machine_that_the_tests_run_on(tmp_path: Path) -> None:
    of_node = [text for text in HERE if re.search(r"wavelet setup .*(docker|containerd|--system)", text)]
    assert len(of_node) >= 3
    assert all(f"--root {tmp_path}" in _below_root(text, tmp_path) for text in of_node)
