"""The tree of a SIF is that of the image as podman unpacks it, entry by entry, whoever reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import oras, sif, sif_asks, trees
from lab.daemon import Daemon
from lab.engines import Podman
from lab.images import Image
from lab.odd_image import DEVICE, odd_image, of_podman_alone
from lab.processes import run
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.squashfs, pytest.mark.podman]

OWN = (b".singularity.d", b"singularity")
"""What only the SIF has."""

PLACES = {
    *(b"proc", b"sys", b"dev", b"tmp", b"var", b"var/tmp", b"root", b"home", b"etc"),
    *(b"etc/passwd", b"etc/group", b"etc/hosts", b"etc/resolv.conf"),
}
"""Where Apptainer mounts something, which the SIF has even if the image has not."""

IMPLIED = {b"etc", b"etc/profile.d", b"opt"}
"""Directories that layers of packages have files in and no entry of: podman makes them anew, when it unpacks."""


@pytest.fixture(scope="module")
def image(registry: Registry) -> Image:
    made = odd_image(env=["LAB=odd"], entrypoint=["/bin/echo", "entered"], labels={"lab.label": "said"})
    registry.push("lab/odd", "1", made)
    return made


@pytest.fixture(scope="module")
def expected(image: Image, registry: Registry, podman: Podman) -> trees.Tree:
    return unpacked(podman, f"{registry.host}/lab/odd:1")


@pytest.fixture(scope="module")
def file(image: Image, node: Daemon, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = sif_asks.cached(node, registry, "lab/odd:1")
    return sif_asks.download(name, tmp_path_factory.mktemp("sif") / "odd.sif")


def unpacked(podman: Podman, name: str) -> trees.Tree:
    podman.pull(name)
    with podman.unpacked(name) as root:
        return trees.read(root)


def hold(
    expected: trees.Tree, seen: trees.Tree, reader: str, unequal: Callable[[bytes, str], bool] = of_podman_alone
) -> None:
    """Hold the tree of a SIF against that of its image."""
    expected, seen = sif.seen_by(reader, expected), sif.seen_by(reader, seen)
    assert {path for path in OWN if path in seen} == set(OWN)
    own = trees.without(seen, *OWN)
    added = own.keys() - expected.keys()
    assert added <= PLACES, added
    theirs = trees.without(expected, DEVICE)
    trees.assert_equal(theirs, {path: own[path] for path in own.keys() - added}, unequal=unequal)


@pytest.mark.parametrize("reader", sif.READERS)
def test_every_reader_sees_what_podman_unpacks(expected: trees.Tree, file: Path, reader: str, tmp_path: Path) -> None:
    hold(expected, sif.tree(file, reader, tmp_path), reader)


@pytest.mark.oras
def test_oras_pulls_the_same_file(image: Image, file: Path, node: Daemon, registry: Registry, tmp_path: Path) -> None:
    pulled = oras.pull(sif_asks.sif_name(sif_asks.cached(node, registry, "lab/odd:1")), tmp_path / "pulled")
    assert pulled.name.endswith(".sif")
    assert pulled.read_bytes() == file.read_bytes()


@pytest.mark.siftool
def test_siftool_reads_it(file: Path) -> None:
    header = sif.siftool("header", file)
    assert "Primary Architecture: amd64" in header
    (partition,) = sif.listed(file)
    assert partition == (4096 * (partition[0] // 4096), file.stat().st_size, "FS (Squashfs/*System/amd64)")
    assert partition[1] % 4096 == 0


def test_the_file_holds_what_runs_it(file: Path, tmp_path: Path) -> None:
    """Its scripts, run by this machine's shell as Apptainer runs them in a container."""
    with sif.mounted(file, tmp_path / "root") as root:
        scripts = root / ".singularity.d"
        sourced = '. "$0"; echo "$LAB"'
        assert (
            run(["env", "-i", "/bin/sh", "-c", sourced, scripts / "env" / "10-docker2singularity.sh"]).stdout == "odd\n"
        )
        assert run([scripts / "runscript", "argument"]).stdout == "entered argument\n"
        assert (root / "singularity").readlink() == Path(".singularity.d/runscript")
        assert json.loads((scripts / "labels.json").read_text()) == {"lab.label": "said"}


@pytest.mark.conda
def test_an_image_of_conda_packages(conda_node: Daemon, podman: Podman, tmp_path: Path) -> None:
    name = f"{conda_node.authority}/conda/samtools:1.17"
    expected = unpacked(podman, name)
    file = sif_asks.download(name, tmp_path / "conda.sif")
    for reader in sif.READERS:
        hold(expected, sif.tree(file, reader, tmp_path), reader, of_packages)


def of_packages(path: bytes, attribute: str) -> bool:
    return of_podman_alone(path, attribute) or (path in IMPLIED and attribute == "mtime")


def test_two_nodes_make_the_same_file(image: Image, file: Path, registry: Registry, tmp_path: Path) -> None:
    second = Daemon(tmp_path / "second")
    second.start()
    try:
        name = sif_asks.cached(second, registry, "lab/odd:1")
        assert sif_asks.download(name, tmp_path / "second.sif").read_bytes() == file.read_bytes()
    finally:
        second.stop()
