"""Replacing placeholders in pieces gives what replacing them in the whole gives."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.kinds.conda.link.prefix_replacement import SHEBANG_LIMIT, replace_binary, replace_text, shebang

OLD, NEW = b"/aab/a", b"/b"
CONTENT = st.lists(st.sampled_from([OLD, b"/", b"a", b"b", b"/aab", b"\0", b"\n", b"#!", b"x" * 30]), max_size=40)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at some places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def strings_replaced(data: bytes) -> bytes:
    """Replace in strings that end with a zero byte, the plain way: each is as long as it was."""
    strings = []
    for string in data.split(b"\0"):
        replaced = string.replace(OLD, NEW)
        strings.append(replaced + bytes(len(string) - len(replaced)))
    return b"\0".join(strings)


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=20))
def test_binary_strings_keep_their_length(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    done = b"".join(replace_binary(pieces(data, cuts), OLD, NEW))
    assert done == strings_replaced(data)
    assert len(done) == len(data)


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=20))
def test_text_is_replaced_everywhere(parts: list[bytes], cuts: list[int]) -> None:
    data = b"x" + b"".join(parts)
    assert b"".join(replace_text(pieces(data, cuts), OLD, NEW)) == data.replace(OLD, NEW)


@given(CONTENT, st.lists(st.integers(0, 1000), max_size=20))
def test_scripts_keep_all_but_a_first_line_that_is_too_long(parts: list[bytes], cuts: list[int]) -> None:
    data = b"#!" + b"".join(parts)
    line, newline, rest = data.partition(b"\n")
    done = b"".join(replace_text(pieces(data, cuts), OLD, NEW))
    assert done == shebang(line.replace(OLD, NEW)) + newline + rest.replace(OLD, NEW)


@given(
    st.binary(min_size=1, max_size=12), st.binary(max_size=3), st.binary(max_size=300), st.lists(st.integers(0, 999))
)
def test_any_bytes_are_replaced(old: bytes, new: bytes, data: bytes, cuts: list[int]) -> None:
    data = b"x" + data
    assert b"".join(replace_text(pieces(data, cuts), old, new)) == data.replace(old, new)


def test_a_prefix_longer_than_the_placeholder_does_not_fit() -> None:
    with pytest.raises(ValueError, match="too few for a prefix of 10"):
        list(replace_binary([b"short"], b"/short", b"/opt/conda"))
    assert b"".join(replace_text([b"a=/short\n"], b"/short", b"/opt/conda")) == b"a=/opt/conda\n"


LONG = b"/" + b"d" * 130


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"#!" + b"/p" * 62 + b"x", b"#!" + b"/p" * 62 + b"x"),
        (b"#!" + LONG + b"/bin/perl -w", b"#!/usr/bin/env perl -w"),
        (b"#! " + LONG + b"/bin/perl\r", b"#!/usr/bin/env perl\r"),
        (b"#!" + LONG + b"/python", b"#!/bin/sh\n'''exec' \"" + LONG + b'/python" "$0" "$@" #\'\'\''),
        (b"#!" + LONG + b"/python3.12 -sE", b"#!/bin/sh\n'''exec' \"" + LONG + b'/python3.12" -sE "$0" "$@" #\'\'\''),
        (b"#!" + LONG + b"/python3.12.1", b"#!/usr/bin/env python3.12.1"),
        (b"#!" + LONG + b"/pythonw", b"#!/usr/bin/env pythonw"),
        (b"#!no path " + b"x" * 130, b"#!no path " + b"x" * 130),
    ],
)
def test_first_lines_that_linux_cannot_read_go_another_way(line: bytes, expected: bytes) -> None:
    assert shebang(line) == expected


def test_a_first_line_without_end_is_text() -> None:
    data = b"#!/aab/a/bin/x " + b"y" * 200_000 + OLD
    assert b"".join(replace_text(pieces(data, [70_000, 150_000]), OLD, NEW)) == data.replace(OLD, NEW)
    assert SHEBANG_LIMIT == 127
