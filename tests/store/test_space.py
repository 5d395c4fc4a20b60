"""The account of space, and what gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.errors import NoSpace
from wavelet.image.reference import Digest
from wavelet.store.entries import HOT_BYTES, HOT_DOCUMENT, HotBytes
from wavelet.store.ingest import HOLD_BACK, PartialBlob
from wavelet.store.room import DISK_MARGIN, Space, victims

SIZES = st.integers(0, 1000)
BLOBS = st.lists(st.tuples(SIZES, st.booleans()), max_size=12)


def digest(number: int) -> Digest:
    return Digest.of(str(number).encode())


@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 10**6))
def test_committed_and_reserved_stay_within_the_limit(
    limit: int, committed: int, reserved: int, size: int, beyond: int
) -> None:
    space = Space(limit, committed, reserved)
    shortage = space.shortage(size, free=10**12)
    assert shortage >= 0
    assert committed - shortage + reserved + size <= limit or shortage == 0
    assert shortage == 0 or committed - shortage + reserved + size == limit
    assert space.shortage(size, free=0) >= space.shortage(size, free=beyond) >= shortage


def test_the_file_system_counts_too() -> None:
    space = Space(10**12, 0, 10)
    assert space.shortage(5, free=DISK_MARGIN + 15) == 0
    assert space.shortage(5, free=DISK_MARGIN + 14) == 1
    space.arrived = 8  # these are no longer free
    assert space.shortage(5, free=DISK_MARGIN + 7) == 0
    assert space.shortage(5, free=DISK_MARGIN + 6) == 1


@given(BLOBS, st.integers(-5, 5000))
def test_the_least_recently_used_goes_first_and_nothing_that_is_safe(
    blobs: list[tuple[int, bool]], shortage: int
) -> None:
    eviction_order = [(digest(number), size) for number, (size, _) in enumerate(blobs)]
    safe = {digest(number) for number, (_, is_safe) in enumerate(blobs) if is_safe}
    may_go = [(each, size) for each, size in eviction_order if each not in safe]
    try:
        chosen = victims(eviction_order, shortage, safe.__contains__, "x")
    except NoSpace:
        assert sum(size for _, size in may_go) < shortage
        return
    assert chosen == [each for each, _ in may_go[: len(chosen)]]
    sizes = [size for _, size in may_go[: len(chosen)]]
    assert sum(sizes) >= shortage
    assert not sizes or sum(sizes[:-1]) < shortage


def test_the_error_says_what_did_not_fit_and_what_to_do() -> None:
    with pytest.raises(NoSpace, match=r"no room for the thing: 7 B short.*store\.limit"):
        victims([(digest(1), 10)], 7, lambda _: True, "the thing")


@given(st.integers(0, 5 * HOLD_BACK), st.integers(0, 5 * HOLD_BACK) | st.none())
def test_the_last_bytes_are_held_back(written: int, size: int | None) -> None:
    partial = PartialBlob(digest(0), size, -1)
    partial.grow(written if size is None else min(written, size))
    held_from = written if size is None else size
    assert partial.readable <= max(0, held_from - HOLD_BACK)
    assert partial.readable <= written
    if size is not None and written <= size - HOLD_BACK:
        assert partial.readable == written


def test_small_documents_stay_in_memory_the_last_used_longest() -> None:
    hot = HotBytes()
    hot.put(digest(-1), "a", b"x" * (HOT_DOCUMENT + 1))
    assert hot.get(digest(-1), "a") is None
    count = HOT_BYTES // HOT_DOCUMENT
    for number in range(count):
        hot.put(digest(number), "a", b"x" * HOT_DOCUMENT)
    assert hot.get(digest(0), "b") is None
    assert hot.get(digest(0), "a")
    hot.put(digest(count), "a", b"y")
    assert hot.get(digest(0), "a")
    assert hot.get(digest(1), "a") is None
    assert hot.get(digest(count), "a") == b"y"
