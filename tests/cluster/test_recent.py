"""Records that were read a moment ago: bounded by their bytes, and never in the way of a binding."""

from __future__ import annotations

from cluster.suite import LIFETIMES, Clock, decided_record, image_record, pin_of
from wavelet.cluster import recent_records
from wavelet.cluster.recent_records import FRESH, RecentRecords
from wavelet.cluster.records import Stored

NOW = Clock().now
RECORD = decided_record()
STORED = Stored(RECORD, NOW, NOW, RECORD.pin)
UNBOUND = Stored(image_record(), NOW, NOW)
BOUND = Stored(image_record(), NOW, NOW, pin_of(image_record()))
LOCK = 60_000
"""Bytes of a record that has a long lock."""


def names(memory: RecentRecords, count: int) -> list[int]:
    return [number for number in range(count) if memory.get(str(number)) is not None]


def test_long_records_are_kept_as_short_ones_are() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    for number in range(200):
        memory.add(str(number), STORED, LOCK, memory.forgotten)
    assert names(memory, 200) == list(range(200))
    assert memory.get("unknown") is None


def test_the_longest_unused_go_when_there_are_too_many_bytes() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    count = 2 * recent_records.KEPT_BYTES // LOCK
    for number in range(count):
        memory.add(str(number), STORED, LOCK, memory.forgotten)
        assert memory.get("0") is not None
    kept = names(memory, count)
    assert kept[0] == 0
    assert kept[1:] == list(range(count - len(kept) + 1, count))
    assert recent_records.KEPT_BYTES * 0.9 < len(kept) * LOCK < recent_records.KEPT_BYTES


def test_small_ones_are_bounded_too() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    for number in range(40_000):
        memory.add(str(number), STORED, 10, memory.forgotten)
    assert 5_000 < len(names(memory, 40_000)) < 20_000


def test_one_that_would_drive_out_all_others_is_not_kept() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    memory.add("long", STORED, LOCK, memory.forgotten)
    memory.add("huge", STORED, recent_records.LARGEST + 1, memory.forgotten)
    assert memory.get("huge") is None
    assert memory.get("long") == STORED
    memory.add("long", STORED, recent_records.LARGEST + 1, memory.forgotten)
    assert memory.get("long") is None


def test_what_is_added_again_or_forgotten_counts_once() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    for _ in range(1000):
        memory.add("same", STORED, LOCK, memory.forgotten)
        memory.add("forgotten", STORED, LOCK, memory.forgotten)
        memory.forget("forgotten")
    for number in range(200):
        memory.add(str(number), STORED, LOCK, memory.forgotten)
    assert len(names(memory, 200)) == 200
    assert memory.get("same") == STORED
    assert memory.get("forgotten") is None


def test_a_name_that_is_not_bound_is_read_each_time() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    memory.add("name", UNBOUND, 10, memory.forgotten)
    assert memory.get("name") is None
    memory.add("name", BOUND, 10, memory.forgotten)
    assert memory.get("name") == BOUND


def test_what_was_read_too_long_ago_is_read_again() -> None:
    clock = Clock()
    memory = RecentRecords(LIFETIMES, clock)
    memory.add("name", STORED, 10, memory.forgotten)
    clock.now += FRESH - 1
    assert memory.get("name") == STORED
    clock.now += 1
    assert memory.get("name") is None


def test_what_was_forgotten_while_it_was_read_is_not_remembered() -> None:
    memory = RecentRecords(LIFETIMES, Clock())
    since = memory.forgotten
    memory.forget("name")
    memory.add("name", STORED, 10, since)
    assert memory.get("name") is None
    memory.add("name", STORED, 10, memory.forgotten)
    assert memory.get("name") == STORED
