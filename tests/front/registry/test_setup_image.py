"""The image that `wavelet setup` has engines pull: whole, the same everywhere, and in front of nobody's else."""

from __future__ import annotations

import json

from lab.daemon import Daemon
from lab.http import get
from wavelet.front.registry.setup_image import PATH, find, setup_image
from wavelet.image.image import INDEX_TYPES, Index, Manifest, parse_document
from wavelet.image.reference import Digest, Platform

DIGEST = "sha256:6cb630d6a7a7168fd90ba905c2b3fdc05a60364dd86170dc32206ed9813a92b0"


def test_it_is_the_same_everywhere_and_for_each_architecture() -> None:
    image = setup_image()
    assert image.index.descriptor.digest == DIGEST
    assert image.index.descriptor.media_type in INDEX_TYPES
    index = parse_document(image.index.data)
    assert isinstance(index, Index)
    for architecture in ("amd64", "arm64"):
        entry = index.select(Platform.of("linux", architecture))
        assert entry is not None
        manifest = parse_document(image.parts[entry.descriptor.digest].data)
        assert isinstance(manifest, Manifest)
        assert manifest.config is not None
        config = json.loads(image.parts[manifest.config.digest].data)
        assert config["architecture"] == architecture
        (layer,) = manifest.layers
        assert config["rootfs"]["diff_ids"] == [layer.digest]
        assert Digest.of(image.parts[layer.digest].data) == layer.digest


def test_no_tag_and_no_other_repository_is_taken_from_anybody() -> None:
    assert find(PATH, "latest") is None
    assert find("library/busybox", DIGEST) is None


def test_it_is_answered_below_any_registrys_name(daemon: Daemon) -> None:
    for name in (PATH, f"docker.io/{PATH}", f"127.0.0.9_5000/{PATH}"):
        answer = daemon.get(f"/v2/{name}/manifests/{DIGEST}")
        assert (answer.status, answer.headers["docker-content-digest"]) == (200, DIGEST)
        assert Digest.of(answer.body) == DIGEST
    mirrored = get(f"{daemon.url}/v2/{PATH}/manifests/{DIGEST}?ns=quay.io")
    assert mirrored.headers["oci-namespace"] == "quay.io"
    assert daemon.head(f"/v2/{PATH}/manifests/{DIGEST}").headers["content-length"] == str(len(mirrored.body))
