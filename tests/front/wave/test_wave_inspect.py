"""The answer of inspect, from documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wavelet.errors import UpstreamBroken
from wavelet.front.wave.inspect import inspected
from wavelet.image.image import DOCKER_CONFIG, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from wavelet.image.reference import Digest, Reference

DIGEST = Digest("sha256:" + "1" * 64)
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 5}
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-01-02T03:04:05Z",
    "container": "c0ffee",
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created_by": "x"}],
    "config": {
        "Hostname": "h",
        "Domainname": "",
        "User": "me",
        "AttachStdin": False,
        "Env": ["A=1"],
        "Cmd": ["/bin/sh"],
        "Image": "",
        "WorkingDir": "/w",
        "Entrypoint": None,
        "Labels": {"a": "b"},
        "ExposedPorts": {"1/tcp": {}},
    },
}


def look(document: Any, media_type: str, name: str = "busybox:1.36", config: Any = CONFIG) -> dict[str, Any]:
    data = json.dumps(document).encode()
    descriptor = Descriptor(media_type, Digest.of(data), len(data))
    return inspected(Reference.parse(name), descriptor, data, None if config is None else json.dumps(config).encode())


def manifest(media_type: str | None = OCI_MANIFEST) -> dict[str, Any]:
    members = {"schemaVersion": 2, "mediaType": media_type, "config": LAYER | {"mediaType": DOCKER_CONFIG}}
    return members | {"layers": [LAYER], "annotations": {"k": "v"}}


def test_an_image() -> None:
    document = manifest()
    assert look(document, OCI_MANIFEST) == {
        "container": {
            "registry": "docker.io",
            "hostName": "https://registry-1.docker.io",
            "imageName": "library/busybox",
            "reference": "1.36",
            "digest": Digest.of(json.dumps(document).encode()),
            "config": {
                "architecture": "amd64",
                "container": "c0ffee",
                "created": "2026-01-02T03:04:05Z",
                "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
                "config": {
                    "hostName": "h",
                    "user": "me",
                    "attachStdin": False,
                    "env": ["A=1"],
                    "cmd": ["/bin/sh"],
                    "workingDir": "/w",
                    "labels": {"a": "b"},
                },
            },
            "manifest": document,
            "v1": False,
            "v2": False,
            "oci": True,
        }
    }


def test_a_docker_image_and_one_without_media_type() -> None:
    docker = look(manifest(DOCKER_MANIFEST), DOCKER_MANIFEST)["container"]
    assert (docker["v1"], docker["v2"], docker["oci"]) == (False, True, False)
    plain = look(manifest(None), OCI_MANIFEST)["container"]
    assert plain["oci"] is True
    assert plain["manifest"]["mediaType"] == OCI_MANIFEST


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("quay.io/a/b", "https://quay.io"),
        ("localhost:5000/a", "http://localhost:5000"),
        ("127.0.0.1:5000/a", "http://127.0.0.1:5000"),
        ("[::1]:5000/a", "http://[::1]:5000"),
        ("10.0.0.1:5000/a", "https://10.0.0.1:5000"),
    ],
)
def test_where_a_registry_answers(name: str, host: str) -> None:
    assert look(manifest(), OCI_MANIFEST, name)["container"]["hostName"] == host


def test_an_index() -> None:
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    entry = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7, "platform": platform}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry, LAYER | {"annotations": {"a": "b"}}]}
    answer = look(document, OCI_INDEX, config=None)
    assert answer == {"index": document | {"digest": Digest.of(json.dumps(document).encode())}}


@pytest.mark.parametrize("config", [None, [], {"config": 5}])
def test_a_config_of_another_kind_is_left_out(config: Any) -> None:
    assert "config" not in look(manifest(), OCI_MANIFEST, config=config)["container"]


@pytest.mark.parametrize(
    "document", [[], {}, {"schemaVersion": 1, "layers": []}, {"manifests": [{"digest": "x", "size": 1}]}]
)
def test_broken_documents_are_the_registrys_fault(document: Any) -> None:
    with pytest.raises(UpstreamBroken, match=r"quay\.io answers quay\.io/a/b:latest"):
        look(document, OCI_MANIFEST, "quay.io/a/b")
