"""The bill of materials and the lock: attached to the image as referrers, and found by clients that know how."""

from __future__ import annotations

import json

import pytest

from lab import conda_asks, images, nextflow
from lab.conda_asks import blob, digest, made, manifest
from lab.daemon import Daemon
from lab.processes import run

pytestmark = pytest.mark.registry


LOCK = "application/vnd.wavelet.conda.explicit.v1"


def bill(node: Daemon, name: str) -> dict[str, object]:
    """Return the bill of materials of a pullable name's image."""
    return dict(json.loads(attached(node, name, "application/vnd.cyclonedx+json")))


def attached(node: Daemon, name: str, kind: str) -> bytes:
    """Return the document of a type that is attached to a pullable name's image."""
    of = digest(node, name)
    repository = nextflow.manifest_path(name).partition("/manifests/")[0]
    answer = node.get(f"{repository}/referrers/{of}")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    entries = {entry["artifactType"]: entry for entry in answer.json()["manifests"]}
    assert entries.keys() == {"application/vnd.cyclonedx+json", LOCK}
    entry = entries[kind]
    filtered = node.get(f"{repository}/referrers/{of}?artifactType={entry['artifactType'].replace('+', '%2B')}")
    assert filtered.json()["manifests"] == [entry]
    assert node.get(f"{repository}/referrers/{of}?artifactType=none").json()["manifests"] == []
    artifact = manifest(node, f"{name.partition('/')[0]}/{repository.removeprefix('/v2/')}@{entry['digest']}")
    assert artifact["subject"]["digest"] == of
    return blob(node, name, artifact["layers"][0]["digest"])


def test_the_lock_asks_for_the_same_image(conda_node: Daemon) -> None:
    name = made(conda_node, "samtools=1.17", "lab-report")
    lock = attached(conda_node, name, LOCK).decode()
    assert "@EXPLICIT" in lock
    assert digest(conda_node, made(conda_node, environment=lock)) == digest(conda_node, name)


def test_what_is_in_the_image(conda_node: Daemon) -> None:
    document = bill(conda_node, made(conda_node, "samtools=1.17", "lab-report"))
    assert document["bomFormat"] == "CycloneDX"
    components = {component["name"]: component for component in document["components"]}  # type: ignore[attr-defined]
    samtools = components["samtools"]
    assert samtools["version"] == "1.17"
    assert samtools["purl"].startswith("pkg:conda/samtools@1.17?")
    assert samtools["hashes"][0]["alg"] == "SHA-256"
    assert "GPL-3.0" in json.dumps(components["libgcc-lab"]["licenses"])
    assert {"htslib", "python", "lab-report", "tzdata"} <= set(components)


def test_of_an_augmented_image(conda_node: Daemon) -> None:
    added = images.layer({"opt/added": b"x"})
    plain = bill(conda_node, made(conda_node, "which"))
    name = made(conda_node, "which", config={"layers": [added.in_request()], "env": ["A=1"]})
    assert bill(conda_node, name)["components"] == plain["components"]


def test_of_an_image_by_its_name(conda_node: Daemon) -> None:
    document = bill(conda_node, f"{conda_node.authority}/conda/samtools:1.17")
    assert "samtools" in json.dumps(document["components"])


@pytest.mark.crane
def test_a_client_finds_it(conda_node: Daemon) -> None:
    name = f"{conda_node.authority}/conda/bwa:0.7.17"
    shown = json.loads(run(["crane", "manifest", "--insecure", name]).stdout)
    assert shown["layers"]
    run(["crane", "validate", "--insecure", "--remote", name])
    of = run(["crane", "digest", "--insecure", name]).stdout.strip()
    assert of == digest(conda_node, name)
    listed = conda_node.get(f"/v2/conda/bwa/referrers/{of}", Accept=conda_asks.ACCEPT).json()["manifests"]
    bare = name.rpartition(":")[0]
    entry = next(each for each in listed if "cyclonedx" in each["artifactType"])
    artifact = json.loads(run(["crane", "manifest", "--insecure", f"{bare}@{entry['digest']}"]).stdout)
    text = run(["crane", "blob", "--insecure", f"{bare}@{artifact['layers'][0]['digest']}"]).stdout
    assert "pkg:conda/bwa@0.7.17" in text
