"""Other people's checks: the OCI conformance suite in its read-only mode, and `crane validate`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from groups import program
from lab import images, nextflow
from lab.daemon import Daemon
from lab.http import request
from lab.processes import run
from lab.registry import Registry

pytestmark = pytest.mark.registry

LAYER = images.layer({"checked": b"by others\n"})
SUITE_SECONDS = 50.0


def contents(node: Daemon, name: str) -> tuple[str, list[str], list[str]]:
    """Return tag, manifest digests and blob digests of what lies under a name."""
    tag = name.rpartition(":")[2]
    manifests: list[str] = []
    blobs: list[str] = []
    waiting = [name]
    while waiting:
        answer = node.get(nextflow.manifest_path(waiting.pop()), Accept=", ".join(images.MANIFEST_TYPES))
        assert answer.status == 200, answer.body
        manifests.append(images.sha256(answer.body))
        document = answer.json()
        waiting += [f"{name.rpartition(':')[0]}@{entry['digest']}" for entry in document.get("manifests", [])]
        blobs += [part["digest"] for part in [*document.get("layers", []), *filter(None, [document.get("config")])]]
    return tag, manifests, sorted(set(blobs))


def conformance(host: str, repository: str, tag: str, manifests: list[str], blobs: list[str], results: Path) -> str:
    """Run the suite in read-only mode and return its printed summary."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(results.parent),
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": repository,
        "OCI_REPO2": repository,
        "OCI_RESULTS_DIR": str(results),
        "OCI_VERSION": "1.1",
        "OCI_API_PUSH": "false",
        "OCI_API_BLOBS_DELETE": "false",
        "OCI_API_MANIFESTS_DELETE": "false",
        "OCI_API_TAGS_DELETE": "false",
        "OCI_RO_DATA_TAGS": tag,
        "OCI_RO_DATA_MANIFESTS": " ".join(manifests),
        "OCI_RO_DATA_BLOBS": " ".join(blobs),
        "OCI_RO_DATA_REFERRERS": " ".join(manifests),
    }
    suite = program("conformance")
    assert suite is not None
    done = run([suite], environment=environment, seconds=SUITE_SECONDS, check=False)
    return done.stdout + done.stderr


def pushing_conformance(host: str, results: Path) -> str:
    """Run all of the suite on two repositories, which it pushes to, and return its printed summary."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(results.parent),
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": "local/conformance/one",
        "OCI_REPO2": "local/conformance/two",
        "OCI_RESULTS_DIR": str(results),
        "OCI_VERSION": "dev",
    }
    suite = program("conformance")
    assert suite is not None
    done = run([suite], environment=environment, seconds=SUITE_SECONDS, check=False)
    return done.stdout + done.stderr


def expect_conformance(printed: str, manifests: list[str], blobs: list[str]) -> None:
    """Judge the suite by what it prints: its exit status says nothing in this mode."""
    counted = dict(re.findall(r"^  (Pass|FAIL|Error)\.+:\s+(\d+)$", printed, re.MULTILINE))
    assert counted, printed
    failed = "\n".join(
        line for line in printed.splitlines() if "FAIL" in line or "Error" in line or "level=WARN" in line
    )
    assert (counted["FAIL"], counted["Error"]) == ("0", "0"), failed
    for line in ("Tag listing", "Blob get", "Blob head", "Manifest get by digest", "Manifest get by tag", "Referrers"):
        assert re.search(rf"^  {line}\.+:\s+Pass$", printed, re.MULTILINE), f"{line} did not pass:\n{printed}"
    assert printed.count("/pull/blob-get: Pass") == len(blobs)
    assert printed.count("/pull/manifest-by-digest: Pass") == len(manifests)


@pytest.fixture(params=[images.DOCKER, images.OCI])
def source(request: pytest.FixtureRequest, registry: Registry) -> str:
    """Return the name of a multi-architecture image in the registry, of each family in turn."""
    return registry.push(f"lab/checked-{request.param}", "1", images.two_architectures(request.param))


@pytest.fixture(params=["near-cache", "augmented", "augmented-index", "unchanged"])
def name(request: pytest.FixtureRequest, node: Daemon, source: str) -> str:
    """Return a name that the daemon answers to, of each kind in turn."""
    if request.param == "near-cache":
        host, _, rest = source.partition("/")
        return f"{node.authority}/{host.replace(':', '_')}/{rest}"
    platforms = "linux/amd64,linux/arm64" if request.param == "augmented-index" else "linux/amd64"
    config = {} if request.param == "unchanged" else {"layers": [LAYER.in_request()], "env": ["A=1"]}
    return nextflow.target(node, source, config=config, containerPlatform=platforms)


@pytest.mark.conformance
def test_the_suite_finds_no_failure(node: Daemon, name: str, tmp_path: Path) -> None:
    tag, manifests, blobs = contents(node, name)
    repository = name.partition("/")[2].rpartition(":")[0]
    printed = conformance(node.authority, repository, tag, manifests, blobs, tmp_path / "results")
    expect_conformance(printed, manifests, blobs)


@pytest.mark.conformance
def test_the_suite_finds_no_failure_in_a_name_of_packages(conda_node: Daemon, tmp_path: Path) -> None:
    """Fault G11: the tag that was pulled is listed, and one that nothing stands for is not there."""
    tag, manifests, blobs = contents(conda_node, f"{conda_node.authority}/conda/samtools:1.17")
    printed = conformance(conda_node.authority, "conda/samtools", tag, manifests, blobs, tmp_path / "results")
    expect_conformance(printed, manifests, blobs)


@pytest.mark.conformance
def test_the_suite_pushes_and_deletes_without_a_failure(state_dir: Path, tmp_path: Path) -> None:
    """All APIs and all data, of the coming version of the specification too; nothing is left in the end."""
    host = Daemon(state_dir, settings={"hosted": {"pushes": "on"}})
    try:
        printed = pushing_conformance(host.start().authority, tmp_path / "results")
    finally:
        host.stop()
    counted = dict(re.findall(r"^  (Pass|FAIL|Error|Disabled)\.+:\s+(\d+)$", printed, re.MULTILINE))
    failed = "\n".join(line for line in printed.splitlines() if "FAIL" in line or "Error" in line)
    assert (counted["FAIL"], counted["Error"], counted["Disabled"]) == ("0", "0", "0"), failed
    apis, _, rest = printed.partition("API conformance:")[2].partition("Data conformance:")
    for line in [*apis.splitlines(), *rest.splitlines()]:
        name, _, said = line.partition("..")
        # An index whose images are elsewhere is refused: nobody could pull it.
        assert not said or said.endswith("Pass") or "Sparse" in name, line
    assert not list((state_dir / "blobs").glob("*/*/*"))


@pytest.mark.crane
def test_crane_finds_the_image_valid(name: str, tmp_path: Path) -> None:
    crane = program("crane")
    assert crane is not None
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    for platform in ("linux/amd64", "all"):
        command = [crane, "validate", "--insecure", "--platform", platform, "--remote", name]
        assert "PASS" in run(command, environment=environment).stdout


@pytest.mark.parametrize("digest", ["sha256:0", "sha256:" + "g" * 64, "md5:" + "0" * 32, "sha256%3A" + "0" * 64])
def test_a_digest_that_is_none_is_the_callers_fault(node: Daemon, registry: Registry, digest: str) -> None:
    repository = f"{registry.host.replace(':', '_')}/lab/busybox"
    for kind in ("manifests", "blobs"):
        for method in ("GET", "HEAD"):
            answer = request(method, f"{node.url}/v2/{repository}/{kind}/{digest}")
            assert answer.status in (400, 404)
