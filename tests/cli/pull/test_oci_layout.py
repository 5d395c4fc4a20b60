"""`wavelet pull --oci`, of a real daemon: other tools read the layout, and a second pull adds to it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from lab import images
from lab.command import Wavelet
from lab.grpc_site import Site
from wavelet.cli.pull.oci_layout import IMAGE_NAME, REF_NAME, as_oci

pytestmark = [pytest.mark.registry, pytest.mark.conda]


def index(layout: Path) -> list[dict[str, dict[str, str]]]:
    return list(json.loads((layout / "index.json").read_text())["manifests"])


def check(layout: Path) -> None:
    """Hold that all blobs are what they are called."""
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    blobs = list((layout / "blobs" / "sha256").iterdir())
    assert blobs
    assert [blob.name for blob in blobs] == [hashlib.sha256(blob.read_bytes()).hexdigest() for blob in blobs]


@pytest.mark.skopeo
def test_several_pulls_into_one(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    other = site.registry.push("lab/other", "1", images.two_architectures(images.OCI))
    said = wavelet("pull", "--oci", str(layout), site.image)
    assert said.code == 0, said.err
    assert said.out.split()[:2] == [site.image, f"{layout}:1"]
    check(layout)
    said = wavelet("pull", "--oci", str(layout), "conda/samtools:1.17", f"docker://{other}", "-o", "json")
    assert [each["file"] for each in said.json()] == [f"{layout}:1.17", f"{layout}:{other}"]
    check(layout)
    assert index(layout)[0]["annotations"][REF_NAME] == "1"
    again = wavelet("pull", "--oci", str(layout), site.image)
    assert again.code == 0, again.err
    assert sorted(each["annotations"][IMAGE_NAME] for each in index(layout)) == sorted(
        [site.image, "conda/samtools:1.17", other]
    )
    for each in index(layout):
        name = each["annotations"][REF_NAME]
        copied = subprocess.run(
            ["skopeo", "copy", "--insecure-policy", f"oci:{layout}:{name}", f"dir:{tmp_path / 'copy'}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert copied.returncode == 0, copied.stderr


def test_of_an_index_one_platform(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    image = images.two_architectures(images.OCI)
    name = site.registry.push("lab/both", "1", image)
    for platform, member in zip(("linux/amd64", "linux/arm64"), image.members, strict=True):
        found = wavelet("pull", "--oci", str(tmp_path / "layout"), name, "--platform", platform, "-o", "json").json()
        assert found[0]["digest"] == member.digest
        assert len(index(tmp_path / "layout")) == 1
    said = wavelet("pull", "--oci", str(tmp_path / "layout"), name, "--platform", "linux/arm/v7")
    assert "only for linux/amd64, linux/arm64 (--platform)" in said.err


def test_types_of_docker_become_those_of_oci(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    image = images.busybox(family=images.DOCKER)
    name = site.registry.push("lab/docker", "1", image)
    assert wavelet("pull", "--oci", str(tmp_path / "layout"), name).code == 0
    assert b"vnd.docker" not in as_oci(image.document)
    check(tmp_path / "layout")
    assert index(tmp_path / "layout")[0]["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_a_layout_is_made_of_nothing_else(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert "has other files in it, and is no OCI layout" in wavelet("pull", "--oci", str(tmp_path), site.image).err
    (tmp_path / "mine").unlink()
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    assert "of another version" in wavelet("pull", "--oci", str(tmp_path), site.image).err
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "index.json").write_text("[]")
    assert "cannot be read" in wavelet("pull", "--oci", str(tmp_path), site.image).err


def test_one_that_is_not_there_stops_no_other(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    absent = f"{site.registry.host}/lab/absent:1"
    said = wavelet("pull", "--oci", str(tmp_path / "layout"), absent, "https://x.org/a", site.image)
    assert said.code == 1
    assert len(index(tmp_path / "layout")) == 1
    assert "2 of 3 failed" in said.err


def test_what_a_digest_names_is_held_to_it(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    image = images.busybox(family=images.OCI)
    name = f"{site.registry.push('lab/pinned', '1', image)}@{image.digest}"
    assert wavelet("pull", "--oci", str(tmp_path / "a"), name, "-o", "json").json()[0]["digest"] == image.digest
    frozen = wavelet("resolve", "-i", site.image, "--freeze", "--config-env", "O=1").out.strip()
    digest = wavelet("pull", frozen, "-o", "json").json()[0]["digest"]
    assert wavelet("pull", "--oci", str(tmp_path / "b"), f"{frozen}@{digest}").code == 0
    wrong = wavelet("pull", "--oci", str(tmp_path / "b"), f"{frozen}@{site.busybox.digest}")
    assert f"what came is not {site.busybox.digest}" in wrong.err
