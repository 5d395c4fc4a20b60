"""A composed SIF, read back by who reads such files: each entry with all that it is, and every byte."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from made_layers import Made, compose_layers, directory, image_of, joined, symlink, write_sif

from lab import sif, trees
from wavelet.archive.squashfs.codecs import BLOCK, CODECS, GZIP
from wavelet.errors import InvalidRequest, UpstreamBroken
from wavelet.kinds.sif.compose.compose import compose
from wavelet.kinds.sif.compose.file import ALIGNMENT, PARTITION_AT

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
NOISE = random.Random(14).randbytes(3 * BLOCK + 1000)
TEXT = b"a line of text\n" * 40_000

LOWER = [
    directory(b"", 0o751, uid=3, gid=4, mtime=7),
    directory(b"bin", 0o755, mtime=1_700_000_000),
    Made(b"bin/noise", content=NOISE, mode=0o4755, uid=1000, gid=70_000, mtime=2**32 - 1),
    Made(b"bin/text", content=TEXT, mode=0o600, mtime=1),
    Made(b"bin/empty"),
    Made(b"bin/holes", content=bytes(2 * BLOCK) + b"end" + bytes(BLOCK)),
    Made(b"bin/one", content=b"same", same=1),
    Made(b"bin/two", content=b"same", same=1),
    Made(b"bin/capable", content=b"x", xattrs=((b"security.capability", CAPABILITY), (b"user.why", b"because"))),
    Made(b"bin/alike", content=b"y", xattrs=((b"security.capability", CAPABILITY), (b"user.why", b"because"))),
    directory(b"marked", xattrs=((b"user.of", b"a directory" * 200),)),
    symlink(b"bin/led", b"../marked/nowhere", mtime=9),
    Made(b"bin/pipe", "fifo", mode=0o622, mtime=8),
    Made(b"\xff\xfe not text", content=b"bytes"),
    Made(b"n" * 255, content=b"long name"),
    symlink(b"far", b"t" * 4095),
    directory(b"gone"),
    Made(b"gone/file"),
    Made(b"taken/deep/file", content=b"below"),
]
UPPER = [
    Made(b"gone", "whiteout"),
    Made(b"taken", content=b"now a file"),
    Made(b"bin/new", content=NOISE[: BLOCK + 5]),
    Made(b"bin/third", "link", target=b"bin/one"),
    Made(b"implied/file", content=b"z"),
]


def expected(layers: list[list[Made]]) -> trees.Tree:
    """Return the tree of `LOWER` and `UPPER`, written down by hand where they meet."""
    made = {each.path: each for layer in layers for each in layer}
    for path in (b"gone", b"gone/file", b"taken/deep/file"):
        del made[path]
    made[b"implied"] = directory(b"implied")
    made[b"bin/third"] = made[b"bin/one"]
    same = (b"bin/one", b"bin/third", b"bin/two")
    kinds = {"symlink": "link", "link": "file"}
    return {
        path: trees.Entry(
            kind=kinds.get(each.kind, each.kind),
            mode=0 if each.kind == "symlink" else each.mode,
            uid=each.uid,
            gid=each.gid,
            size=len(each.content),
            sha256=hashlib.sha256(each.content).hexdigest() if each.kind == "file" else "",
            target=each.target,
            names=3 if path in same else 1,
            others=tuple(other for other in same if other != path) if path in same else (),
            mtime=each.mtime,
            xattrs=tuple((name.decode(), value) for name, value in each.xattrs),
        )
        for path, each in made.items()
    }


MOUNT_POINTS = (b"dev", b"etc", b"home", b"proc", b"root", b"sys", b"tmp", b"var")


@pytest.mark.squashfs
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("reader", sif.READERS)
def test_every_entry_and_byte_is_read_back(tmp_path: Path, codec: str, reader: str) -> None:
    file = write_sif(tmp_path / "made", [LOWER, UPPER], CODECS[codec])
    seen = trees.without(image_of(sif.tree(file, reader, tmp_path)), *MOUNT_POINTS)
    trees.assert_equal(sif.seen_by(reader, expected([LOWER, UPPER])), seen)


@pytest.mark.squashfs
def test_holes_take_no_room_of_their_own(tmp_path: Path) -> None:
    file = write_sif(tmp_path / "made", [LOWER])
    with sif.mounted(file, tmp_path / "mounted") as root:
        about = (root / "bin" / "holes").stat()
        assert about.st_blocks * 512 < BLOCK * 2 < about.st_size


@pytest.mark.siftool
def test_siftool_reads_the_file(tmp_path: Path) -> None:
    file = write_sif(tmp_path / "made", [LOWER, UPPER])
    assert sif.listed(file) == [(PARTITION_AT, file.stat().st_size, "FS (Squashfs/*System/amd64)")]
    assert "amd64" in sif.siftool("header", file)


@pytest.mark.siftool
@pytest.mark.squashfs
def test_others_can_add_to_it_as_who_signs_it_does(tmp_path: Path) -> None:
    file = write_sif(tmp_path / "made", [LOWER])
    before = sif.tree(file, sif.KERNEL, tmp_path)
    added = tmp_path / "labels"
    added.write_text('{"added": "by others"}')
    sif.siftool("add", "--datatype", "6", "--groupid", "1", file, added)
    assert [kind for _, _, kind in sif.listed(file)] == ["FS (Squashfs/*System/amd64)", "JSON.Generic"]
    trees.assert_equal(before, sif.tree(file, sif.KERNEL, tmp_path))


def test_the_whole_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    composed, segments = compose_layers(tmp_path / "made", [LOWER, UPPER])
    data = joined(composed, segments, tmp_path / "whole").read_bytes()
    assert (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") == (composed.size, composed.digest)
    for part in (composed.head, composed.tail):
        content = part.path.read_bytes()
        assert (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}") == (part.size, part.digest)
    assert composed.size % ALIGNMENT == 0
    assert {each.name for each in composed.head.path.parent.iterdir()} == {"head", "tail"}


GOLDEN = {
    "gzip": "sha256:09592f28295aadb37e35628a3e92829d329293428bf2612e36d6d6190c3cb0f0",
    "zstd": "sha256:14709bc45965a28c4548fbc25fe1a0289df3bff5f4db1708ac1683189d3ebe3e",
}


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_image_has_the_same_bytes_for_ever(tmp_path: Path, codec: str) -> None:
    """Whoever changes this changes the digests of all SIF files: the maker's version has to be another then."""
    config = b'{"config": {"Env": ["PATH=/bin", "A=b"], "Cmd": ["sh"], "Labels": {"b": "1", "a": "2"}}}'
    composed, _ = compose_layers(tmp_path / "made", [LOWER, UPPER], CODECS[codec], config)
    assert composed.digest == GOLDEN[codec]


def long_name() -> list[Made]:
    return [Made(b"some/" + b"n" * 256)]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (long_name(), r"'/some/nnn.*cannot be in a squashfs image.*a name of 256 bytes"),
        ([symlink(b"far", b"t" * 4096)], r"'/far' .* symbolic link to a name of 4096 bytes"),
        ([symlink(b"empty", b"")], r"'/empty' .* 0 bytes"),
        ([Made(b"odd", xattrs=((b"system.x", b""),))], r"'/odd' .* extended attribute b'system.x'"),
        ([Made(b"a", "link", target=b"nothing")], r"layer 1 has 'a' as a hard link to 'nothing'"),
        ([Made(b"%d" % each, uid=each) for each in range(65_537)], r"more than 65535 users and groups"),
    ],
    ids=lambda value: "" if isinstance(value, list) else value[:12],
)
def test_what_cannot_be_in_a_squashfs_image_is_named(tmp_path: Path, layer: list[Made], said: str) -> None:
    with pytest.raises(UpstreamBroken, match=said):
        compose_layers(tmp_path / "made", [layer])


def test_an_architecture_without_a_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no SIF for 'sparc64'; the format knows 386, amd64"):
        compose([], b"{}", "sparc64", GZIP, tmp_path)
