"""The tables of squashfs images where they are large or odd, as Linux, squashfuse and unsquashfs read them."""

from __future__ import annotations

import os
import random
import struct
import zlib
from pathlib import Path

import pytest
from written_images import EMPTY, PLAIN, Attributes, written

from lab import sif
from wavelet.archive.squashfs.codecs import BLOCK, GZIP, ZSTD, Codec
from wavelet.archive.squashfs.inodes import FileData
from wavelet.archive.squashfs.superblock import ABSENT

GIB = 1024**3
NOISE = random.Random(14)


@pytest.mark.squashfs
def test_a_large_directory_is_read_whole_and_each_name_found(tmp_path: Path) -> None:
    names = [b"name-%06d" % each for each in range(30_000)]
    with written(tmp_path / "image", 0) as image:
        image.tree.enter(b"large", Attributes(0o755, 0, 0, 0))
        for name in names:
            image.tree.file(name, PLAIN, EMPTY)
        image.tree.leave()
    with sif.mounted(tmp_path / "image", tmp_path / "mounted", offset=0) as root:
        assert sorted(bytes(each)[len(bytes(root)) + 7 :] for each in (root / "large").iterdir()) == names
        for name in [names[0], names[-1], *NOISE.sample(names, 3000)]:
            assert os.path.lexists(bytes(root / "large") + b"/" + name)
        for absent in (b"a", b"name-", b"name-0150005", b"z"):
            assert not os.path.lexists(bytes(root / "large") + b"/" + absent)


def test_a_large_directory_has_an_index_of_each_block(tmp_path: Path) -> None:
    """Without one Linux reads a directory from its beginning for each name that is looked up."""
    stored = Codec("gzip", "none", 0)
    with written(tmp_path / "image", 0, stored) as image:
        for each in range(2000):
            image.tree.file(b"%0200d" % each, PLAIN, EMPTY)
    assert image.superblock is not None
    data = (tmp_path / "image").read_bytes()
    assert image.superblock.directory_table != ABSENT
    # The root's inode is the last of the table, which is of blocks that begin with their length.
    blocks = _metadata(data[image.superblock.inode_table : image.superblock.directory_table])
    inode = blocks[image.superblock.root >> 16][image.superblock.root & 0xFFFF :]
    kind, *_, size, start, _, rows, offset, _ = struct.unpack_from("<4H6I2HI", inode)
    assert (kind, start, offset) == (8, 0, 0)
    assert rows == (size - 3) // 8192


def _metadata(table: bytes) -> dict[int, bytes]:
    """Return what is at each block and behind it."""
    blocks: dict[int, bytes] = {}
    at = 0
    while at < len(table):
        (word,) = struct.unpack_from("<H", table, at)
        piece = table[at + 2 : at + 2 + (word & 0x7FFF)]
        content = piece if word & 0x8000 else zlib.decompress(piece)
        blocks = {start: before + content for start, before in blocks.items()} | {at: content}
        at += 2 + (word & 0x7FFF)
    return blocks


@pytest.mark.squashfs
@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: str(codec.name))
@pytest.mark.parametrize("reader", sif.READERS)
def test_many_of_everything(tmp_path: Path, codec: Codec, reader: str) -> None:
    """More owners, attributes, fragments and entries than one block of their tables has, and deep ones."""
    content = NOISE.randbytes(700)
    at = 200
    path = tmp_path / "image"
    path.write_bytes(bytes(at) + content)
    fragments = [(at + each, 1 | 1 << 24) for each in range(700)]
    with written(path, at + 700, codec, fragments) as image:
        tree = image.tree
        linked = tree.symlink(b"link", PLAIN, b"there", links=2)
        tree.again(b"link-again", linked)
        pipe = tree.fifo(b"pipe", PLAIN._replace(xattrs=((b"security.x", b""),)), links=2)
        tree.again(b"pipe-again", pipe)
        for each in range(700):
            xattrs = ((b"user.number", b"%d" % each), (b"user.same", b"same" * 20))
            tree.file(b"x%04d" % each, Attributes(0o644, 3000 + each, each, each, xattrs), FileData(1, 0, (), each, 0))
        for _ in range(100):
            tree.enter(b"y", Attributes(0o755, 0, 0, 0))
        for _ in range(100):
            tree.leave()
    seen = sif.tree(path, reader, tmp_path, offset=0)
    assert b"/".join([b"y"] * 100) in seen
    for each in range(700):
        entry = seen[b"x%04d" % each]
        assert (entry.uid, entry.gid, entry.mtime, entry.size) == (3000 + each, each, each, 1)
        assert entry.xattrs == (("user.number", b"%d" % each), ("user.same", b"same" * 20))
    with sif.mounted(path, tmp_path / "mounted", offset=0) as root:
        assert b"".join((root / f"x{each:04d}").read_bytes() for each in range(700)) == content
    assert [seen[each].names for each in (b"link", b"link-again", b"pipe", b"pipe-again")] == [2] * 4


@pytest.mark.squashfs
@pytest.mark.parametrize("reader", [sif.KERNEL, sif.SQUASHFUSE])
def test_inodes_of_one_directory_may_be_far_apart(tmp_path: Path, reader: str) -> None:
    with written(tmp_path / "image", 0) as image:
        first = image.tree.file(b"a", PLAIN, FileData(0, 0, (), -1, 0), links=2)
        image.tree.enter(b"b", PLAIN._replace(mode=0o755))
        for each in range(33_000):
            image.tree.symlink(b"%05d" % each, PLAIN, b"t")
        image.tree.leave()
        image.tree.file(b"c", PLAIN._replace(mtime=3), EMPTY)
        image.tree.again(b"d", first)
    with sif.mounted(tmp_path / "image", tmp_path / "mounted", reader, offset=0) as root:
        assert [each.stat().st_mtime for each in sorted(root.iterdir())] == [0, 0, 3, 0]
        assert len(list((root / "b").iterdir())) == 33_000
        if reader == sif.KERNEL:
            assert [each.stat().st_ino for each in sorted(root.iterdir())] == [2, 3, 33_004, 2]
            assert (root / "d").stat().st_nlink == 2


@pytest.mark.squashfs
@pytest.mark.parametrize("reader", [sif.KERNEL, sif.SQUASHFUSE])
def test_data_beyond_4_gib_and_a_file_of_more(tmp_path: Path, reader: str) -> None:
    block, rest = NOISE.randbytes(BLOCK), NOISE.randbytes(1000)
    start = 5 * GIB + 77
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.seek(start)
        file.write(block + rest)
    word = BLOCK | 1 << 24
    holes = 4 * GIB // BLOCK
    with written(path, start + BLOCK + 1000, fragments=[(start + BLOCK, 1000 | 1 << 24)]) as image:
        image.tree.file(b"far", PLAIN, FileData(BLOCK + 1000, start, (word,), 0, 0))
        image.tree.file(b"huge", PLAIN, FileData((holes + 1) * BLOCK, start, (0,) * holes + (word,), -1, 0))
    with sif.mounted(path, tmp_path / "mounted", reader, offset=0) as root:
        assert (root / "far").read_bytes() == block + rest
        assert (root / "huge").stat().st_size == 4 * GIB + BLOCK
        with (root / "huge").open("rb") as file:
            file.seek(4 * GIB - 10)
            assert file.read(BLOCK + 10) == bytes(10) + block
    if reader == sif.KERNEL:
        with sif.mounted(path, tmp_path / "again", offset=0) as root:
            assert (root / "huge").stat().st_blocks * 512 == BLOCK


@pytest.mark.squashfs
@pytest.mark.parametrize("reader", sif.READERS)
def test_an_empty_image(tmp_path: Path, reader: str) -> None:
    with written(tmp_path / "image", 0):
        pass
    assert list(sif.tree(tmp_path / "image", reader, tmp_path, offset=0)) == [b""]


@pytest.mark.squashfs
def test_what_stat_says_of_holes_and_directories(tmp_path: Path) -> None:
    with written(tmp_path / "image", 0) as image:
        image.tree.enter(b"a", PLAIN._replace(mode=0o755))
        for name in (b"b", b"c", b"d"):
            image.tree.enter(name, PLAIN._replace(mode=0o755))
            image.tree.leave()
        image.tree.leave()
        image.tree.file(b"holes", PLAIN, FileData(BLOCK + 100, 0, (0, 0), -1, 0))
    with sif.mounted(tmp_path / "image", tmp_path / "mounted", offset=0) as root:
        assert [(root / each).stat().st_nlink for each in ("", "a", "a/b")] == [3, 5, 2]
        about = (root / "holes").stat()
        assert (about.st_size, about.st_blocks) == (BLOCK + 100, 0)
        assert (root / "holes").read_bytes() == bytes(BLOCK + 100)


@pytest.mark.squashfs
def test_attributes_of_some_kilobytes(tmp_path: Path) -> None:
    value = NOISE.randbytes(30_000)
    with written(tmp_path / "image", 0) as image:
        image.tree.file(b"a", PLAIN._replace(xattrs=((b"user.large", value), (b"user.small", b"1"))), EMPTY)
        image.tree.file(b"b", PLAIN._replace(xattrs=((b"user.other", b"2"),)), EMPTY)
    tree = sif.tree(tmp_path / "image", sif.KERNEL, tmp_path, offset=0)
    assert tree[b"a"].xattrs == (("user.large", value), ("user.small", b"1"))
    assert tree[b"b"].xattrs == (("user.other", b"2"),)


def test_tables_lie_where_linux_looks_for_them(tmp_path: Path) -> None:
    """Each index ends where the next table begins, and the last with the image (fs/squashfs/id.c, xattr_id.c)."""
    with written(tmp_path / "image", 0, fragments=[(96, 5)]) as image:
        image.tree.file(b"a", PLAIN._replace(xattrs=((b"user.x", b"y"),)), EMPTY)
    data = (tmp_path / "image").read_bytes()
    block = image.superblock
    assert block is not None
    (fragments,) = struct.unpack_from("<Q", data, block.fragment_table)
    (ids,) = struct.unpack_from("<Q", data, block.id_table)
    pairs, sets, _, rows = struct.unpack_from("<QIIQ", data, block.xattr_table)
    assert block.inode_table < block.directory_table < fragments < block.fragment_table
    assert (block.fragment_table + 8, block.id_table + 8) == (ids, pairs)
    assert (sets, pairs < rows < block.xattr_table, block.xattr_table + 24) == (1, True, block.size)


def test_what_the_superblock_says(tmp_path: Path) -> None:
    with written(tmp_path / "image", 0, ZSTD) as image:
        image.tree.file(b"a", PLAIN, EMPTY)
    data = (tmp_path / "image").read_bytes()
    magic, inodes, time, size, fragments, codec, log, _, ids = struct.unpack_from("<4s4I4H", data)
    assert (magic, inodes, time, size, fragments) == (b"hsqs", 2, 0, BLOCK, 0)
    assert (codec, 1 << log, ids) == (6, BLOCK, 1)
    # Behind it the level of zstd, in a block that is stored.
    assert struct.unpack_from("<Hi", data, 96) == (0x8004, ZSTD.level)
    assert image.superblock is not None
    assert struct.unpack_from("<Q", data, 88) == (ABSENT,)
