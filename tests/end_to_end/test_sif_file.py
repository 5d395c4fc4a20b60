"""A SIF as a file over HTTP: what is said of it, ranges across the borders of its parts, and conditions."""

from __future__ import annotations

import random

import pytest

from lab import images, sif_asks
from lab.daemon import Daemon
from lab.http import Answer, request
from lab.registry import Registry

pytestmark = pytest.mark.registry

LAYERS = 3
RANGES = 60


@pytest.fixture(scope="module")
def name(node: Daemon, registry: Registry) -> str:
    """Return an image of several layers that cannot be compressed: its SIF has large parts."""
    layers = [images.random_layer(1.3, seed, f"data/{seed}") for seed in range(140, 140 + LAYERS)]
    registry.push("lab/sif-file", "1", images.busybox(*layers))
    return sif_asks.cached(node, registry, "lab/sif-file:1")


@pytest.fixture(scope="module")
def whole(name: str) -> Answer:
    return sif_asks.ask(name)


def test_what_is_said_of_it(name: str, whole: Answer) -> None:
    head = sif_asks.ask(name, "HEAD")
    assert (whole.status, head.status) == (200, 200)
    assert head.headers["content-length"] == str(len(whole.body))
    assert head.headers["accept-ranges"] == "bytes"
    assert head.headers["etag"] == whole.headers["etag"] == f'"{images.sha256(whole.body)}"'
    assert "attachment" in head.headers["content-disposition"]
    assert '.sif"' in head.headers["content-disposition"]
    assert whole.body.startswith(b"#!/usr/bin/env run-singularity\n")


def test_its_manifest_has_the_same_digest(name: str, whole: Answer) -> None:
    assert sif_asks.digest(name) == images.sha256(whole.body)


def test_ranges_across_the_borders(name: str, whole: Answer) -> None:
    size, source = len(whole.body), random.Random(3)
    pairs = [(4095, 4096 + 96), (0, 0), (size - 1, size - 1), (1, size - 2)]
    pairs += [tuple(sorted(source.sample(range(size), 2))) for _ in range(RANGES)]  # type: ignore[misc]
    for first, last in pairs:
        part = sif_asks.ask(name, Range=f"bytes={first}-{last}")
        assert (part.status, part.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
        assert part.body == whole.body[first : last + 1], (first, last)
    tail = sif_asks.ask(name, Range="bytes=-100000")
    assert (tail.status, tail.body) == (206, whole.body[-100000:])
    behind = sif_asks.ask(name, Range=f"bytes={size}-")
    assert (behind.status, behind.headers["content-range"]) == (416, f"bytes */{size}")


def test_a_range_of_what_it_was(name: str, whole: Answer) -> None:
    same = sif_asks.ask(name, Range="bytes=10-19", If_Range=whole.headers["etag"])
    assert (same.status, same.body) == (206, whole.body[10:20])
    other = sif_asks.ask(name, Range="bytes=10-19", If_Range='"sha256:of-another-file"')
    assert (other.status, other.body) == (200, whole.body), "what has changed is sent whole"


def test_what_one_has_is_not_sent_again(name: str, whole: Answer) -> None:
    assert sif_asks.ask(name, If_None_Match=whole.headers["etag"]).status == 304


def test_it_is_downloaded_by_the_digest_of_its_image(name: str, whole: Answer) -> None:
    image = request("HEAD", _manifest(name), headers={"Accept": sif_asks.ACCEPT}).headers["docker-content-digest"]
    path = sif_asks.file_url(name).removesuffix(":1.sif")
    by_digest = request("GET", f"{path}@{image}.sif")
    assert (by_digest.status, by_digest.body) == (200, whole.body)


def _manifest(name: str) -> str:
    """Return the URL of the image's manifest."""
    authority, _, path = name.partition("/")
    repository, _, tag = path.rpartition(":")
    return f"http://{authority}/v2/{repository}/manifests/{tag}"
