"""Images that are unusual or broken: their SIF is made, or a sentence says why not and nothing is left behind."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import images, sif, sif_asks, trees
from lab.daemon import Daemon
from lab.disks import mounted
from lab.images import Image, Layer
from lab.registry import Registry

pytestmark = [pytest.mark.registry, pytest.mark.squashfs]

MANY_LAYERS = 120
UNUSUAL = {
    "no-shell": images.image([images.layer({"opt/tool": b"#!/opt/tool\n", "etc/passwd": b"root:x:0:0::/:\n"})]),
    "no-etc": images.image([images.layer({"opt/tool": b"#!/opt/tool\n"})]),
    "empty": images.image([images.layer({})]),
    "120-layers": images.image([images.layer({f"layers/{n}": b"%d\n" % n}) for n in range(MANY_LAYERS)]),
}
NO_TAR = b"this is compressed, and no archive of files\n" * 100
BROKEN = {
    "no-tar": Layer(NO_TAR, gzip.compress(NO_TAR, mtime=0)),
    "not-compressed": Layer(NO_TAR, NO_TAR),
    "cut-off": Layer(b"", images.random_layer(1, seed=77).blob[:400_000]),
}


def left_over(node: Daemon) -> list[Path]:
    """Return what is half written, once all has ended."""
    node.settle()
    return list((node.state / "partial").iterdir())


@pytest.mark.parametrize("what", UNUSUAL)
def test_an_unusual_image(what: str, node: Daemon, registry: Registry, tmp_path: Path) -> None:
    image: Image = UNUSUAL[what]
    registry.push(f"lab/sif-{what}", "1", image)
    file = sif_asks.download(sif_asks.cached(node, registry, f"lab/sif-{what}:1"), tmp_path / "made.sif")
    seen = {reader: sif.tree(file, reader, tmp_path) for reader in sif.READERS}
    for reader in sif.READERS:
        trees.assert_equal(sif.seen_by(sif.SQUASHFUSE, seen[sif.KERNEL]), sif.seen_by(sif.SQUASHFUSE, seen[reader]))
    layers = [path for path in seen[sif.KERNEL] if path.startswith((b"opt/", b"layers/"))]
    assert len(layers) == {"empty": 0, "120-layers": MANY_LAYERS}.get(what, 1)
    assert {b"proc", b"dev", b"etc/hosts"} <= seen[sif.KERNEL].keys()


@pytest.mark.parametrize("what", BROKEN)
def test_a_layer_that_is_broken(what: str, node: Daemon, registry: Registry) -> None:
    registry.push(f"lab/sif-{what}", "1", images.image([images.layer({"good": b"good\n"}), BROKEN[what]]))
    said = sif_asks.refusal(sif_asks.cached(node, registry, f"lab/sif-{what}:1"))
    assert BROKEN[what].digest in said
    assert "Traceback" not in node.log()
    assert left_over(node) == []


def test_an_image_of_another_architecture(node: Daemon, registry: Registry, tmp_path: Path) -> None:
    registry.push("lab/sif-arm", "1", images.two_architectures(images.OCI))
    name = sif_asks.cached(node, registry, "lab/sif-arm:1")
    for suffix, architecture in (("", b"amd64\n"), ("--linux-arm64", b"arm64\n")):
        file = sif_asks.download(name + suffix, tmp_path / f"made{suffix}.sif")
        with sif.mounted(file, tmp_path / f"root{suffix}") as root:
            assert (root / "arch").read_bytes() == architecture


@pytest.mark.siftool
def test_the_file_says_its_architecture(node: Daemon, registry: Registry, tmp_path: Path) -> None:
    registry.push("lab/sif-says", "1", images.two_architectures(images.OCI))
    name = sif_asks.cached(node, registry, "lab/sif-says:1--linux-arm64")
    assert "Primary Architecture: arm64" in sif.siftool("header", sif_asks.download(name, tmp_path / "arm.sif"))


def test_an_architecture_that_the_image_is_not_for(node: Daemon, registry: Registry) -> None:
    registry.push("lab/sif-two", "1", images.two_architectures(images.OCI))
    said = sif_asks.refusal(sif_asks.cached(node, registry, "lab/sif-two:1--linux-s390x"))
    assert "linux/s390x" in said


def test_the_disk_is_full_in_the_middle(
    start_daemon: Callable[..., Daemon], registry: Registry, tmp_path: Path
) -> None:
    """The layers fit on the disk, and what is made of them does not."""
    layers = [images.random_layer(10, seed, f"data/{seed}") for seed in range(70, 73)]
    registry.push("lab/sif-large", "1", images.image(layers))
    with mounted(tmp_path / "disk", "50m") as disk:
        node = start_daemon(disk / "state")
        said = sif_asks.refusal(sif_asks.cached(node, registry, "lab/sif-large:1"))
        assert "free the disk" in said
        assert "Traceback" not in node.log()
        assert left_over(node) == []
        node.stop()
