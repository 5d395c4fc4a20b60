"""`wavelet pull --unpack`, of a real daemon: the tree is that of the kernel's overlay, and stays in its directory."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doubles.sif_door import SifDoor
from lab import images, overlay, trees
from lab.command import Wavelet
from lab.grpc_site import Site
from lab.odd_image import odd_layers
from lab.odd_layers import CAPABILITY, Member, directory, file, hard_link, layer, link, opaque, whiteout
from lab.users import passable_directory
from wavelet import directory_trees
from wavelet.cli.pull import root_filesystem
from wavelet.cli.pull.daemon_http import DaemonHttp
from wavelet.cli.pull.registry_image import ImageName, RegistryImage
from wavelet.errors import UpstreamBroken
from wavelet.image.reference import DEFAULT_PLATFORM

pytestmark = [pytest.mark.registry, pytest.mark.conda]


@pytest.fixture(scope="module")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that unpacks layers into a directory, as they come of a registry."""

    def run(place: Path, *layers: images.Layer) -> Path:
        image = images.image(list(layers), family=images.OCI)
        door = SifDoor({f"/v2/lab/a/blobs/{digest}": data for digest, data in image.blobs.items()})
        door.files["/v2/lab/a/manifests/1"] = image.document
        with door:
            found = RegistryImage.find(DaemonHttp(door.address), ImageName("lab/a", "1", None), DEFAULT_PLATFORM)
            root_filesystem.prepare(place)
            root_filesystem.unpack(found, place, lambda *_: None)
        return place

    return run


@contextlib.contextmanager
def ordinary_user(place: Path) -> Iterator[int]:
    """Be a user without rights, whose directory `home` in `place` is."""
    (place / "home").mkdir()
    uid = 65_534 if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() != uid:
        os.chown(place / "home", uid, -1)
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield uid
    finally:
        os.seteuid(before)


def texts(root: Path) -> dict[str, str]:
    """Return the files of a tree, by path, with their text; a link's is an arrow and its target."""
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.chroot
def test_the_tree_is_that_of_the_overlay(unpack: Any, tmp_path: Path) -> None:
    layers = odd_layers()
    (tmp_path / "overlay").mkdir()
    expected = overlay.tree([each.tar for each in layers], tmp_path / "overlay")
    seen = trees.read(unpack(tmp_path / "root", *layers))
    # Devices are left out; the root is the user's; an overlay counts names that only lower layers have.
    expected = {path: entry for path, entry in expected.items() if entry.kind != "device"}

    def unequal(path: bytes, attribute: str) -> bool:
        return not path or attribute in ("names",)

    assert trees.differences(expected, seen, unequal=unequal) == []


def test_an_ordinary_user_owns_it_without_setuid(unpack: Any) -> None:
    made = layer(
        file(b"su", b"x", mode=0o4755, owner=(1, 2), xattrs={"security.capability": CAPABILITY}),
        directory(b"closed", 0o2555),
        file(b"closed/x", b"y"),
        link(b"link", b"su", owner=(1, 2)),
        Member(b"null", tarfile.CHRTYPE),
    )
    with passable_directory() as place, ordinary_user(place) as uid:
        seen = trees.read(unpack(place / "home" / "root", made))
        directory_trees.remove(place / "home" / "root")
    assert {entry.uid for entry in seen.values()} == {uid}
    assert (seen[b"su"].mode, seen[b"closed"].mode, seen[b"su"].xattrs) == (0o755, 0o555, ())
    assert b"null" not in seen


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([[file(b"../../out", b"x"), file(b"/abs", b"y")]], {"out": "x", "abs": "y"}),
        ([[link(b"way", b"/etc"), file(b"way/x", b"x")]], {"way": "-> /etc", "etc/x": "x"}),
        ([[link(b"way", b"../../.."), file(b"way/x", b"x")]], {"way": "-> ../../..", "x": "x"}),
        ([[link(b"a", b"b"), link(b"b", b"c"), file(b"a/x", b"x")]], {"a": "-> b", "b": "-> c", "c/x": "x"}),
        ([[link(b"way", b"real")], [file(b"way/x", b"x")]], {"way/x": "x"}),
        ([[link(b"way", b"/etc")], [whiteout(b"way/passwd")]], {}),
        ([[link(b"way", b"/etc")], [opaque(b"way")]], {}),
        ([[file(b"x", b"1")], [hard_link(b"y", file(b"x"))]], {"x": "1", "y": "1"}),
        ([[hard_link(b"y", file(b"x")), file(b"x", b"later")]], {"x": "later", "y": "later"}),
        ([[file(b"x", b"1"), whiteout(b"x")]], {"x": "1"}),
        ([[file(b"d/x", b"1")], [whiteout(b"d"), file(b"d/y", b"2")]], {"d/y": "2"}),
        ([[file(b"x", b"1")], [opaque(b""), file(b"y", b"2")]], {"y": "2"}),
        ([[file(b"x", b"1"), directory(b"x"), file(b"x/y", b"2"), file(b"x", b"3")]], {"x": "3"}),
        ([[file(b"dev/null", b"a file")], [Member(b"dev/null", tarfile.CHRTYPE)]], {}),
        ([[file(b"d/x", b"1")], [link(b"d", b"e")], [file(b"d/y", b"2")]], {"d/y": "2"}),
    ],
)  # fmt: skip
def test_where_entries_go(unpack: Any, tmp_path: Path, layers: list[list[Member]], expected: dict[str, str]) -> None:
    root = unpack(tmp_path / "a" / "root", *(layer(*each) for each in layers))
    assert texts(root) == expected
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["root"]
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([[hard_link(b"y", file(b"absent"))]], "is a hard link to b'absent', which is not there"),
        ([[link(b"way", b"/etc")], [hard_link(b"y", file(b"way/passwd"))]], "which is not there"),
        ([[directory(b"d")], [hard_link(b"y", file(b"d"))]], "leads to a directory"),
        ([[hard_link(b"a", file(b"b")), hard_link(b"b", file(b"a"))]], "in a circle"),
        ([[link(b"a", b"b"), link(b"b", b"a"), file(b"a/x", b"x")]], "lead in a circle"),
        ([[file(b"n" * 300, b"x")]], "a part of more than 255 bytes"),
    ],
)
def test_layers_that_cannot_be_unpacked(unpack: Any, tmp_path: Path, layers: list[list[Member]], words: str) -> None:
    with pytest.raises(UpstreamBroken, match=words):
        unpack(tmp_path / "root", layer(file(b"before", b"x")), *(layer(*each) for each in layers))
    assert list((tmp_path / "root").iterdir()) == []


def test_a_layer_that_is_no_tar(unpack: Any, tmp_path: Path) -> None:
    with pytest.raises(UpstreamBroken, match="cannot be unpacked"):
        unpack(tmp_path / "root", images.Layer(b"", b"no tar at all" * 100))
    assert list((tmp_path / "root").iterdir()) == []


def test_holes_are_holes(unpack: Any, tmp_path: Path) -> None:
    root = unpack(tmp_path / "root", layer(file(b"holes", bytes(8 << 20) + b"end"), file(b"all", bytes(1 << 20))))
    assert (root / "holes").read_bytes() == bytes(8 << 20) + b"end"
    assert (root / "all").stat().st_size == 1 << 20
    assert (root / "holes").stat().st_blocks * 512 < 1 << 20


def test_a_thousand_directories_without_entries(unpack: Any, tmp_path: Path) -> None:
    files = [file(b"d%d/e/f" % number, b"x") for number in range(1000)]
    root = unpack(tmp_path / "root", layer(*files[:600]), layer(*files[400:]))
    assert len(texts(root)) == 1000
    assert {(root / f"d{number}").stat().st_mode & 0o7777 for number in range(1000)} == {0o755}


def test_the_command(wavelet: Wavelet, site: Site, tmp_path: Path) -> None:
    root = tmp_path / "root"
    said = wavelet("pull", "--unpack", str(root), site.image)
    assert said.code == 0, said.err
    assert said.out == f"{site.image}  {root}  {site.busybox.digest}\n"
    assert (root / "bin" / "busybox").stat().st_mode & 0o111
    assert "has files in it" in wavelet("pull", "--unpack", str(root), site.image).err
    sif = wavelet("pull", "--unpack", str(tmp_path / "b"), f"sif/{site.image}")
    assert (sif.code, "is a SIF file" in sif.err) == (1, True), sif.err
    assert "2 are named" in wavelet("pull", "--unpack", str(tmp_path / "b"), site.image, "a").err
    absent = wavelet("pull", "--unpack", str(tmp_path / "b"), f"{site.registry.host}/lab/absent:1", "-o", "json")
    assert (absent.code, "1 of 1 failed" in absent.err) == (1, True)
    packages = wavelet("pull", "--unpack", str(tmp_path / "c"), "conda/samtools:1.17")
    assert packages.code == 0, packages.err
    assert list((tmp_path / "c").rglob("samtools*"))
