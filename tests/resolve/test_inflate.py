"""The digest of what a layer inflates to, under a limit of bytes."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import DigestMismatch, TooLarge
from wavelet.image.reference import Digest
from wavelet.resolve.inflate import diff_id_of, file_blocks

MEGABYTE = 1024 * 1024
TEXT = b"".join(b"line %d\n" % (n % 977) for n in range(300_000))
NOISE = random.Random(3).randbytes(300_000)


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.binary(max_size=2000), st.integers(0, 9), st.integers(1, 50))
def test_the_tar_of_a_gzip_in_blocks_of_any_size(data: bytes, level: int, size: int) -> None:
    packed = gzip.compress(data, level, mtime=0)
    assert diff_id_of(split(packed, size), 2000) == Digest.of(data)


@pytest.mark.parametrize("near", [-258, -1, 0, 1, 7, 258])
@pytest.mark.parametrize("data", [bytes(2 * MEGABYTE + 999), TEXT], ids=["zeros", "text"])
def test_what_comes_out_may_end_near_a_blocks_end(data: bytes, near: int) -> None:
    tar = data[: MEGABYTE + near]
    packed = gzip.compress(tar, 9, mtime=0)
    for blocks in ([packed], [packed[:-8], packed[-8:]], [packed[:-4], packed[-4:]], [packed[:-1], packed[-1:]]):
        assert diff_id_of(blocks, 2 * MEGABYTE) == Digest.of(tar)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.integers(1, 60), st.integers(0, 20))
def test_several_members_are_one_stream_and_padding_is_none(parts: list[bytes], size: int, padding: int) -> None:
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts) + bytes(padding)
    assert diff_id_of(split(packed, size), 500) == Digest.of(b"".join(parts))


def test_every_cut_is_seen() -> None:
    packed = gzip.compress(b"some bytes", mtime=0)
    for end in range(len(packed)):
        with pytest.raises(DigestMismatch):
            diff_id_of([packed[:end]], 1000)
    twice = packed * 2
    for end in range(len(packed) + 1, len(twice)):
        with pytest.raises(DigestMismatch):
            diff_id_of([twice[:end]], 1000)


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", b"\x1f\x8b", zlib.compress(b"x"), b"PK\x03\x04", b"\x28\xb5\x2f\xfd" + bytes(20), bytes(30)],
)
def test_what_is_not_gzip(data: bytes) -> None:
    with pytest.raises(DigestMismatch):
        diff_id_of([data], 1000)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_any_bytes_are_answered(data: bytes, size: int) -> None:
    for each in (data, gzip.compress(b"x" * 50, mtime=0) + data):
        try:
            diff_id_of(split(each, size), 1000)
        except DigestMismatch:
            continue


def test_a_wrong_checksum_is_seen() -> None:
    packed = bytearray(gzip.compress(NOISE, mtime=0))
    packed[-8] ^= 1
    with pytest.raises(DigestMismatch):
        diff_id_of([bytes(packed)], MEGABYTE)


def test_a_bomb_is_stopped_before_it_is_big() -> None:
    packed = gzip.compress(bytes(64 * MEGABYTE), mtime=0)
    out: list[int] = []

    class Counted(list[bytes]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            for block in list.__iter__(self):
                out.append(len(block))
                yield block

    with pytest.raises(TooLarge, match=r"inflates to more than 1\.05 MB"):
        diff_id_of(Counted(split(packed, 4096)), MEGABYTE)
    assert len(out) < 3
    assert diff_id_of([gzip.compress(bytes(10), mtime=0)], 10)
    with pytest.raises(TooLarge):
        diff_id_of([gzip.compress(bytes(11), mtime=0)], 10)


def test_a_file_is_read_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(TEXT + NOISE, mtime=0))
    assert diff_id_of(file_blocks(path), len(TEXT) + len(NOISE)) == Digest.of(TEXT + NOISE)
