"""Where the bytes of files are: blocks, fragments, holes; and equal ones are there once."""

from __future__ import annotations

import errno
import gc
import gzip
import hashlib
import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from segment_lab import ROOM, Segment, directory, link, made_of, member, packed, segment, symlink

from wavelet.archive.layer_writer import Outgrown
from wavelet.archive.squashfs.codecs import BLOCK, GZIP, ZSTD, Codec
from wavelet.kinds.sif.segments.index import STORED, Data

NOISE = random.Random(14).randbytes(3 * BLOCK)  # the same in every run


def data_of(made: Segment, path: bytes) -> Data:
    """Return where a file's bytes are."""
    data = made.entries[path].data
    assert data is not None
    return data


@pytest.mark.parametrize("codec", [GZIP, ZSTD], ids=lambda codec: codec.name)
def test_files_of_all_sizes_are_read_back(codec: Codec, tmp_path: Path) -> None:
    sizes = [0, 1, 511, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 7]
    files = {f"{kind}{size}": (source * 3)[:size] for size in sizes for kind, source in SOURCES.items()}
    made = segment(packed(member(name, data=data) for name, data in files.items()), tmp_path / "segment", codec)
    assert {name: made.content(name.encode()) for name in files} == files
    for name, data in files.items():
        assert len(data_of(made, name.encode()).blocks) == len(data) // BLOCK + (
            name.startswith("zeros") and len(data) % BLOCK > 0
        )
    assert made.header.size == len(made.data) == made.made.data.size
    assert made.made.data.digest == f"sha256:{hashlib.sha256(made.data).hexdigest()}"


SOURCES = {"noise": NOISE, "text": b"some text, and more of it\n" * BLOCK, "zeros": bytes(3 * BLOCK)}


def test_what_does_not_become_smaller_is_stored(tmp_path: Path) -> None:
    made = made_of(tmp_path, member("noise", data=NOISE[: BLOCK + 100]))
    assert data_of(made, b"noise").blocks == (BLOCK | STORED,)
    assert made.header.fragments == ((BLOCK, 100 | STORED),)


def test_small_files_share_fragment_blocks(tmp_path: Path) -> None:
    small = {f"{number}": NOISE[number : number + 40_000] for number in range(7)}
    made = made_of(tmp_path, *(member(name, data=data) for name, data in small.items()))
    assert len(made.header.fragments) == 3
    assert {data_of(made, name.encode()).fragment for name in small} == {0, 1, 2}


def test_equal_files_are_there_once(tmp_path: Path) -> None:
    large, small = NOISE[: 2 * BLOCK + 5], b"small"
    once = made_of(tmp_path, member("a", data=large), member("c", data=small))
    twice = made_of(
        tmp_path,
        *(member(name, data=data) for name, data in (("a", large), ("b", large), ("c", small), ("d", small))),
        member("e", data=large, mode=0o755),
    )
    assert twice.data == once.data
    assert twice.content(b"b") == twice.content(b"e") == large
    assert {data_of(twice, b"a")} == {data_of(twice, b"b"), data_of(twice, b"e")}
    assert twice.entries[b"a"].inode == twice.entries[b"b"].inode == 0


def test_large_files_that_differ_only_in_where_their_holes_are_are_not_equal(tmp_path: Path) -> None:
    block, hole = NOISE[:BLOCK], bytes(BLOCK)
    files = {"a": block + hole + hole, "b": hole + block + hole, "c": hole + hole + block, "d": hole + block}
    made = made_of(tmp_path, *(member(name, data=data) for name, data in files.items()))
    assert {name: made.content(name.encode()) for name in files} == files


def test_what_comes_after_a_copy_that_was_let_go_of_is_in_its_place(tmp_path: Path) -> None:
    one, other = NOISE[: 2 * BLOCK + 5], SOURCES["text"][: 2 * BLOCK + 7]
    files = [("a", one), ("b", one), ("c", other), ("d", one), ("e", other), ("f", NOISE[7:])]
    made = made_of(tmp_path, *(member(name, data=data) for name, data in files))
    assert {name: made.content(name.encode()) for name, _ in files} == dict(files)
    assert made.made.data.digest == f"sha256:{hashlib.sha256(made.data).hexdigest()}"


def test_zeros_are_holes(tmp_path: Path) -> None:
    holes = bytes(BLOCK) + b"x" + bytes(2 * BLOCK - 1) + bytes(100)
    made = made_of(tmp_path, member("holes", data=holes), member("zeros", data=bytes(1000)))
    assert [bool(word) for word in data_of(made, b"holes").blocks] == [False, True, False, False]
    assert made.content(b"holes") == holes
    assert data_of(made, b"zeros") == Data(1000, 0, (0,))
    assert made.header.fragments == ()


@pytest.mark.process
def test_sparse_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(5 * BLOCK)
        file.write(b"in the middle")
        file.truncate(9 * BLOCK + 3)
    for form in ("gnu", "pax"):
        command = ["tar", "-cS", f"--format={form}", "-C", str(tmp_path), "sparse"]
        layer = subprocess.run(command, capture_output=True, check=True).stdout
        assert len(layer) < BLOCK
        made = segment(layer, tmp_path / form)
        assert [bool(word) for word in data_of(made, b"sparse").blocks] == [False] * 5 + [True] + [False] * 4
        assert made.content(b"sparse") == path.read_bytes()


@pytest.mark.process
def test_files_may_have_more_than_4_gib(tmp_path: Path) -> None:
    size = 2**32 + 5
    with (tmp_path / "huge").open("wb") as file:
        file.write(b"first")
        file.seek(size - 4)
        file.write(b"last")
    command = ["tar", "-cS", "-C", str(tmp_path), "huge"]
    layer = subprocess.run(command, capture_output=True, check=True).stdout
    made = segment(layer, tmp_path / "segment")
    data = data_of(made, b"huge")
    assert (data.size, len(data.blocks)) == (size, size // BLOCK)
    assert made.bytes_of(Data(BLOCK, data.start, data.blocks[:1])).rstrip(b"\0") == b"first"
    assert made.bytes_of(Data(5, 0, (), data.fragment, data.offset)) == b"\0last"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_however_a_layer_is_compressed_its_segment_is_the_same(compress: object, tmp_path: Path) -> None:
    layer = packed([member("a", data=NOISE), link("b", "a")])
    assert callable(compress)
    assert segment(compress(layer), tmp_path / "other").made == segment(layer, tmp_path / "plain").made


def test_what_a_hard_link_says_of_its_size_is_nothing(tmp_path: Path) -> None:
    info, _ = link("b", "a")
    info.size = 7
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as whole:
        whole.addfile(*member("a")[:1])
        whole.addfile(info)
    assert segment(out.getvalue(), tmp_path / "segment").content(b"b") == b""


def test_no_more_is_written_than_was_set_aside(tmp_path: Path) -> None:
    with pytest.raises(Outgrown, match="set aside"):
        segment(packed([member("a", data=NOISE)]), tmp_path / "segment", room=2 * BLOCK)
    many = packed(member(f"{number}") for number in range(100))
    with pytest.raises(Outgrown, match="set aside"):
        segment(many, tmp_path / "segment", room=10_000)
    assert segment(many, tmp_path / "segment", room=ROOM).header.entries == 101


LIMITED = """
import resource, sys
from pathlib import Path
from wavelet.archive.squashfs.codecs import GZIP
from wavelet.kinds.sif.segments.maker import make_segment
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
try:
    make_segment(Path(sys.argv[1]), "a layer", Path(sys.argv[2]), GZIP, 10**9)
except OSError as error:
    print(type(error).__name__, error.errno)
"""
"""Files that may not grow stand for a full disk."""


@pytest.mark.process
@pytest.mark.parametrize("what", ["data", "tables"])
def test_what_cannot_be_written_is_an_error_of_the_system(what: str, tmp_path: Path) -> None:
    members = [member("a", data=NOISE * 3)] if what == "data" else [symlink(f"{n}", "x" * 4000) for n in range(6000)]
    (tmp_path / "layer").write_bytes(packed(members))
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", LIMITED, tmp_path / "layer", tmp_path / "scratch"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["OSError", str(errno.EFBIG if what == "data" else errno.EIO)]


def test_an_index_that_outgrows_its_room_ends_without_a_word(tmp_path: Path) -> None:
    # What is left of reading the tables is let go of after these are closed.
    said: list[object] = []
    hook, sys.unraisablehook = sys.unraisablehook, said.append
    try:
        layer = packed(directory(f"{number:06}" + "n" * 200) for number in range(3000))
        room = 3000 * (64 + 2 * 206) + 100_000
        with pytest.raises(Outgrown):
            segment(layer, tmp_path / "segment", room=room)
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert said == []
