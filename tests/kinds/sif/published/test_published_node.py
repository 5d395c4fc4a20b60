"""Published files as nodes: canonical bytes, key and names, which are for ever; and what tells their format."""

from __future__ import annotations

import pytest

from wavelet.errors import InvalidRequest
from wavelet.image.image import Descriptor, Manifest, parse_document
from wavelet.image.reference import Digest, valid_path
from wavelet.kinds.sif.manifest import SIF_CONFIG, SIF_LAYER, sif_manifest
from wavelet.kinds.sif.published.format import is_runnable
from wavelet.kinds.sif.published.node import PublishedSif, published_plan
from wavelet.kinds.table import FORMS
from wavelet.plan.canonical import Pin, canonical, decode, encode, key

URL = "https://depot.galaxyproject.org/singularity/samtools:1.17--h00cdaf9_0"
ASKED = PublishedSif(URL)
PINNED = PublishedSif(URL, "Tue, 04 Apr 2023 10:00:00 GMT", 12345)


def test_bytes_and_keys_are_golden() -> None:
    assert canonical(ASKED) == b'{"plan":{"published":"%s"},"version":1}' % URL.encode()
    assert key(PINNED) == "ac08f7f22c5aff6f18532d07df88963188a95a3869e051b426d3edd1a69763c8"
    assert Pin.of(PINNED).name == "f32cd8bec7dad9ffa4b8f8768f2fb83489f3209a07fb63b42cb916fbe8477266"


@pytest.mark.parametrize("node", [ASKED, PINNED])
def test_it_is_read_back(node: PublishedSif) -> None:
    assert decode(encode(node), FORMS) == node
    assert node.moves is (node is ASKED)


@pytest.mark.parametrize(
    ("name", "path", "tag", "file_name"),
    [
        ("samtools:1.17--h00cdaf9_0", "published/samtools", "1.17--h00cdaf9_0", "samtools:1.17--h00cdaf9_0.sif"),
        ("r-base:4.0.sif", "published/r-base", "4.0", "r-base:4.0.sif"),
        ("ubuntu.img", "published/ubuntu", "latest", "ubuntu.img"),
        ("A+B_:x", "published/a-b", "x", "A+B_:x.sif"),
        ("+: ", "published/file", "latest", "+: .sif"),
    ],
)
def test_what_it_is_called(name: str, path: str, tag: str, file_name: str) -> None:
    node = published_plan(f"https/host/singularity/{name}")
    assert (node.label.path, node.label.tag, node.file_name) == (path, tag, file_name)
    assert valid_path(node.label.path)
    assert node.is_file


@pytest.mark.parametrize(
    "path", ["", "https", "https/host", "ubuntu/24.04", "file/etc/passwd", "https/h/../x", "https//x"]
)
def test_what_is_no_path_of_a_url(path: str) -> None:
    with pytest.raises(InvalidRequest):
        published_plan(path)


LAUNCHER = b"#!/usr/bin/env run-singularity\n"


@pytest.mark.parametrize(
    ("first", "runs"),
    [
        (LAUNCHER.ljust(32, b"\0") + b"SIF_MAGIC\x0001\0", True),
        (b"\0" * 32 + b"SIF_MAGIC\x0001\0", True),
        (LAUNCHER + b"hsqs" + b"\0" * 90, True),
        (b"#!/usr/local/bin/run-singularity\nhsqs", True),
        (b"hsqs" + b"\0" * 92, True),
        (b"", False),
        (LAUNCHER, False),
        (b"#!/bin/sh\nhsqs", False),
        (b"<html>", False),
        (b"\x1f\x8b" + b"\0" * 100, False),
        (b"\0" * 33 + b"SIF_MAGIC\0", False),
    ],
)
def test_what_its_first_bytes_say(first: bytes, runs: bool) -> None:
    assert is_runnable(first) is runs


def test_its_manifest_is_what_oras_names_take_as_a_sif() -> None:
    layer = Descriptor(SIF_LAYER, Digest.of(b"sif"), 3)
    view = parse_document(sif_manifest(layer, "x:1.sif"))
    assert isinstance(view, Manifest)
    assert view.config is not None
    assert (view.config.media_type, view.layers) == (SIF_CONFIG, (layer,))
