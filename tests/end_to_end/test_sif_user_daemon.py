"""A user's own daemon for Apptainer, as `wavelet run` sets it up: Nextflow is answered a file that is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import images, sif
from lab.private import Private
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.squashfs]

ASK = """
curl -sf "$WAVE_API_ENDPOINT/v1alpha2/container" -H 'content-type: application/json' \\
    -d "{\\"containerImage\\": \\"$0\\"}"
"""
"""As Nextflow up to 24.04 asks, which does not ask again: the answer comes when the file is there."""


@pytest.fixture
def image(registry: Registry) -> str:
    """Return the name of an image that runs."""
    registry.push("lab/tool", "1", images.busybox())
    return f"{registry.host}/lab/tool:1"


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    """Return the place of a daemon of a test's own, which ends with the test."""
    place = Private(tmp_path / "node")
    yield place
    place.end()


def _asked(private: Private, image: str, *options: str) -> str:
    done = private.call("run", "--engine", "apptainer", *options, "--", "sh", "-c", ASK, image)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{private.log()}"
    answer = json.loads(done.stdout)
    assert answer["succeeded"] is True
    return str(answer["targetImage"])


def test_the_answer_is_a_file_of_the_directory_that_is_named(private: Private, image: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared" / "images"
    path = Path(_asked(private, image, "--images", str(shared)))
    assert path.parent == shared
    assert path.stat().st_mode & 0o777 == 0o644
    assert not private.runs(), "tasks need the file alone"
    tree = sif.tree(path, sif.KERNEL, tmp_path)
    assert {b"bin/busybox", b".singularity.d/runscript"} <= tree.keys()

    made = path.stat()
    assert _asked(private, image, "--images", str(shared)) == str(path)
    assert path.stat().st_ino == made.st_ino, "it is made once"


def test_without_a_directory_it_is_an_address(private: Private, image: str) -> None:
    address = _asked(private, image)
    assert address.startswith(f"{private.endpoint}/sif/")
    assert address.endswith(".sif")
