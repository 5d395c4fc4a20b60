"""What tests of SIFs stand on: every reader sees a tree of files as it is, and no difference goes unnoticed."""

from __future__ import annotations

import dataclasses
import os
import struct
from pathlib import Path

import pytest

from lab import overlay, sif, trees
from lab.engines import Podman
from lab.odd_image import odd_image, odd_layers, of_podman_alone
from lab.processes import run
from lab.registry import Registry

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""`cap_net_bind_service` as the kernel has it, effective."""

CHANGED = {
    "kind": "fifo",
    "mode": 0o4755,
    "uid": 1,
    "gid": 1,
    "size": 1,
    "sha256": "0" * 64,
    "target": b"elsewhere",
    "names": 3,
    "others": (b"other",),
    "mtime": 1,
    "xattrs": (("user.a", b"b"),),
}
ENTRY = trees.Entry("file", 0o644, 0, 0, 0, "", b"", 1, (), 0, ())


def odd_tree(root: Path) -> Path:
    """Make a tree with one of everything that an image may have, and owners and times of its own."""
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "sub" / "large").write_bytes(os.urandom(300_000) + bytes(300_000))
    (root / "sub" / "small").write_bytes(b"small")
    (root / "empty").touch()
    (root / os.fsdecode(b"n\xe4me\xff")).write_bytes(b"latin")
    (root / "link").symlink_to("sub/small")
    (root / "same").hardlink_to(root / "sub" / "small")
    os.mkfifo(root / "fifo", 0o640)
    (root / "sub").chmod(0o3775)
    (root / "empty").chmod(0o4755)
    os.lchown(root / "link", 1000, 70_000)
    os.chown(root / "fifo", 0, 1000)
    os.setxattr(root / "sub" / "large", "user.note", b"\x00\xff")
    os.setxattr(root / "empty", trees.CAPABILITY, CAPABILITY)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (0, 1_000_000_000 + len(path.name)), follow_symlinks=False)
    os.utime(root, (0, 86_400))
    return root


@pytest.mark.parametrize("attribute", [field.name for field in dataclasses.fields(trees.Entry)])
def test_every_attribute_counts(attribute: str) -> None:
    changed = dataclasses.replace(ENTRY, **{attribute: CHANGED[attribute]})
    (line,) = trees.differences({b"a\xff": ENTRY}, {b"a\xff": changed})
    assert line.startswith(f"/a\\xff: {attribute} is ")
    assert trees.differences({b"a": ENTRY}, {b"a": changed}, unequal=lambda _, name: name == attribute) == []


def test_what_is_missing_and_what_is_too_much() -> None:
    assert trees.differences({b"a": ENTRY}, {b"b": ENTRY}) == ["/a: missing, file", "/b: not expected, file"]
    assert trees.differences({b"a": ENTRY}, trees.without({b"a": ENTRY, b"b": ENTRY, b"b/c": ENTRY}, b"b")) == []


@pytest.mark.process
@pytest.mark.squashfs
@pytest.mark.siftool
@pytest.mark.parametrize("reader", sif.READERS)
def test_a_sif_is_read_as_it_was_written(tmp_path: Path, reader: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    expected = trees.read(odd_tree(root))
    run(["mksquashfs", root, tmp_path / "image", "-quiet", "-no-progress"])
    file = tmp_path / "made.sif"
    sif.siftool("new", file)
    sif.siftool(
        "add", "--datatype", "4", "--parttype", "2", "--partfs", "1", "--partarch", "2", file, tmp_path / "image"
    )
    found = sif.partition(file)
    assert sif.listed(file) == [(found.offset, found.offset + found.size, "FS (Squashfs/*System/amd64)")]
    trees.assert_equal(sif.seen_by(reader, expected), sif.seen_by(reader, sif.tree(file, reader, tmp_path)))


@pytest.mark.process
@pytest.mark.registry
@pytest.mark.podman
@pytest.mark.squashfs
def test_podman_and_the_kernel_see_the_same_image(tmp_path: Path) -> None:
    registry, podman = Registry(tmp_path / "registry"), Podman(tmp_path / "podman")
    registry.start()
    try:
        name = registry.push("lab/odd", "1", odd_image())
        podman.pull(name)
    finally:
        registry.stop()
    with podman.unpacked(name) as root:
        unpacked = trees.read(root)
    (tmp_path / "layers").mkdir()
    merged = overlay.tree([layer.tar for layer in odd_layers()], tmp_path / "layers")
    trees.assert_equal(merged, unpacked, unequal=of_podman_alone)
