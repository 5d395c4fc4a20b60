"""Images for both architectures, made on one machine without emulation."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import conda_asks, images, nextflow
from lab.conda_asks import CondaSite, blob, config, done, files, lock, manifest
from lab.conda_channel import make_channel
from lab.conda_packages import Package, script
from lab.daemon import Daemon
from lab.engines import Docker
from lab.task_image import task_image_for_both
from wavelet.engine.architecture import is_emulated, own_platform
from wavelet.image.reference import Platform

pytestmark = pytest.mark.registry

BOTH = "linux/amd64,linux/arm64"
AMD64_ELF = 62
"""`e_machine` of ELF files for x86-64."""

SUBDIRS = {"amd64": "linux-64", "arm64": "linux-aarch64"}


@pytest.fixture(scope="module")
def base(conda_site: CondaSite) -> str:
    """Return the name of a base image for both (the files in it are this machine's)."""
    return conda_site.registry.push("lab/both", "1", task_image_for_both())


def asked(node: Daemon, base: str, *entries: str, platform: str = BOTH, **more: object) -> dict[str, str]:
    packages = conda_asks.packages(*entries) | {"condaOpts": {"baseImage": base}}
    answer = nextflow.ask(node, packages=packages, containerPlatform=platform, **more)
    state = done(node, answer["requestId"])
    assert state["succeeded"] is True, state
    return answer


def machine_of(program: bytes) -> int:
    assert program[:4] == b"\x7fELF"
    return int(struct.unpack_from("<H", program, 18)[0])


def test_both_in_one_index(conda_node: Daemon, base: str) -> None:
    answer = asked(conda_node, base, "samtools=1.17", "procps-ng", "lab-report")
    name = answer["targetImage"]
    index = manifest(conda_node, name)
    found = {entry["platform"]["architecture"]: entry for entry in index["manifests"]}
    assert set(found) == set(SUBDIRS)
    shared = []
    for architecture, entry in found.items():
        document = conda_asks.manifest(conda_node, f"{name.rpartition(':')[0]}@{entry['digest']}")
        assert config(conda_node, name, document)["architecture"] == architecture
        tars = [gzip.decompress(blob(conda_node, name, layer["digest"])) for layer in document["layers"]]
        assert [images.sha256(tar) for tar in tars] == config(conda_node, name, document)["rootfs"]["diff_ids"]
        inside = files(tars)
        assert inside["etc/architecture"] == architecture.encode()
        records = [path for path in inside if path.startswith("opt/conda/conda-meta/samtools")]
        assert len(records) == 1
        assert f"/{SUBDIRS[architecture]}/samtools".encode() in inside[records[0]]
        if architecture == "amd64":
            assert machine_of(inside["opt/conda/libexec/samtools/busybox"]) == AMD64_ELF
        shared.append({layer["digest"] for layer in document["layers"]})
        text = lock(conda_node, answer["buildId"], platform=f"linux/{architecture}")
        assert f"# platform: {SUBDIRS[architecture]}" in text
    # Packages of pure Python are one layer for both.
    assert len(shared[0] & shared[1]) >= 3


@pytest.mark.docker
def test_an_engine_takes_its_own(conda_node: Daemon, base: str, docker: Docker) -> None:
    name = asked(conda_node, base, "samtools=1.17")["targetImage"]
    docker.pull(name)
    assert docker.run(name, "samtools") == "samtools 1.17\n"


def test_the_other_one_alone(conda_node: Daemon, base: str) -> None:
    answer = asked(conda_node, base, "samtools=1.17", platform="linux/arm64")
    assert config(conda_node, answer["targetImage"])["architecture"] == "arm64"
    assert "/linux-aarch64/samtools-1.17" in lock(conda_node, answer["buildId"])
    both = manifest(conda_node, asked(conda_node, base, "samtools=1.17")["targetImage"])
    assert conda_asks.digest(conda_node, answer["targetImage"]) in [entry["digest"] for entry in both["manifests"]]


def test_by_its_name(conda_node: Daemon, base: str) -> None:
    encoded = base.replace(":", "__co").replace("/", "__sl")
    name = f"{conda_node.authority}/conda/samtools/platform--arm64/base--{encoded}:1.17"
    answer = conda_node.get(nextflow.manifest_path(name), Accept=conda_asks.ACCEPT)
    assert answer.status == 200, answer.body
    assert config(conda_node, name)["architecture"] == "arm64"


def test_a_package_that_one_does_not_have(conda_node: Daemon, base: str) -> None:
    packages = conda_asks.packages("gdal-lab") | {"condaOpts": {"baseImage": base}}
    answer = nextflow.post(conda_node, packages=packages, containerPlatform=BOTH)
    assert answer.status == 400
    assert "gdal-lab" in answer.json()["message"]
    assert "gdal-lab is built for linux-64, and neither for linux-aarch64 nor for noarch" in answer.json()["message"]
    assert "process { withName: 'NAME' { arch = 'amd64' } }" in answer.json()["message"]


def test_a_base_that_is_for_one_only(conda_node: Daemon, conda_site: CondaSite) -> None:
    packages = conda_asks.packages("samtools=1.17") | {"condaOpts": {"baseImage": conda_site.base}}
    answer = nextflow.post(conda_node, packages=packages, containerPlatform="linux/arm64")
    assert answer.status in (400, 404)
    assert "arm64" in answer.json()["message"]


@pytest.mark.skipif(own_platform() != Platform("linux", "amd64") or is_emulated("arm64"), reason="scripts run here")
def test_scripts_that_nothing_here_runs(
    own_site: CondaSite, base: str, start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    tool = {"bin/.tool-post-link.sh": script("#!/bin/bash\necho made > $PREFIX/made\n")}
    package = Package("tool", subdir="linux-aarch64", files=tool)
    own_site.server.channels |= {"mine": make_channel(tmp_path / "mine", [package])}
    node = start_daemon(settings=own_site.settings(engine="namespace"))
    packages = conda_asks.packages("tool", channels=("mine",)) | {"condaOpts": {"baseImage": base}}
    why = conda_asks.why_not(node, nextflow.post(node, packages=packages, containerPlatform="linux/arm64"))
    assert "tool: installation runs post-link scripts of linux/arm64, and nothing on this node" in why
    assert "this node runs programs of amd64, and emulates none of arm64" in why
    assert "process { withName: 'NAME' { arch = 'amd64' } }" in why
