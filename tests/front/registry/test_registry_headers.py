"""Header arithmetic: ranges against a simple oracle, entity tags, accepted types, links and reason phrases."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wavelet.errors import InvalidRequest, RangeInvalid
from wavelet.front.registry.headers import (
    accepts,
    matches_etag,
    next_link,
    parse_page_size,
    parse_range,
    reason_phrase,
    warning,
)

DIGEST = "sha256:" + "a" * 64
POSITIONS = st.integers(0, 30)


def bytes_of(header: str, size: int) -> bytes | None:
    """Return what a range is of the bytes 0, 1, 2, …; None: not satisfiable."""
    content = bytes(n % 256 for n in range(size))
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return content[-int(last) :] if int(last) and size else None
    return content[int(first) : int(last) + 1 if last else None] or None


@given(POSITIONS, POSITIONS | st.none(), POSITIONS | st.none())
@example(0, None, 5)
@example(0, 0, None)
@example(10, None, 30)
def test_one_range_is_the_bytes_it_says(size: int, first: int | None, last: int | None) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    content = bytes(n % 256 for n in range(size))
    try:
        found = parse_range(header, size)
    except RangeInvalid as error:
        assert error.size == size
        assert bytes_of(header, size) is None
        return
    if found is None:
        assert header == "bytes=-" or (first is not None and last is not None and last < first) or size == 0
        return
    start, end = found
    assert 0 <= start < end <= size
    assert content[start:end] == bytes_of(header, size)


NO_RANGES = ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "items=0-1", "bytes=5-3", "bytes = 1-2"]
NO_RANGES += [
    "bytes=0x1-2",
    "bytes=--5",
    "bytes=+1-2",
    "bytes=" + "9" * 5000 + "-",
    "bytes=1-\N{ARABIC-INDIC DIGIT TWO}",
]


@pytest.mark.parametrize("header", [None, *NO_RANGES])
def test_what_is_no_range_counts_as_not_asked_for(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=999999999999-", "bytes=-0"])
def test_a_range_past_the_end(header: str) -> None:
    with pytest.raises(RangeInvalid, match="10 bytes"):
        parse_range(header, 10)


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_header_is_answered(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeInvalid:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        (None, False),
        ("", False),
        (f'"{DIGEST}"', True),
        (f'W/"{DIGEST}"', True),
        (f'"other", "{DIGEST}"', True),
        (DIGEST, True),
        ("*", True),
        ('"other"', False),
        (f'"{DIGEST[:-1]}"', False),
    ],
)
def test_entity_tags(header: str | None, matches: bool) -> None:
    assert matches_etag(header, DIGEST) is matches


@pytest.mark.parametrize(
    ("accept", "admitted"),
    [
        ([], True),
        ([""], True),
        (["a/b"], True),
        (["x/y, a/b;q=0.5"], True),
        (["x/y", "a/b"], True),
        (["*/*"], True),
        (["x/y"], False),
        (["a/bc"], False),
    ],
)
def test_accepted_types(accept: list[str], admitted: bool) -> None:
    assert accepts(accept, "a/b") is admitted
    assert accepts(["application/*"], "application/x")


@pytest.mark.parametrize(("text", "n"), [(None, None), ("0", 0), ("007", 7), ("999999999", 999_999_999)])
def test_page_sizes(text: str | None, n: int | None) -> None:
    assert parse_page_size(text) == n


@pytest.mark.parametrize("text", ["", "-1", "a", "1.5", "1e3", " 1", "9" * 10, "\u0662", "²"])
def test_what_is_no_page_size(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_page_size(text)
    assert caught.value.field == "n"


@given(st.text(max_size=10), st.none() | st.text(min_size=1, max_size=10), st.integers(1, 99))
def test_a_link_leads_to_the_next_page(last: str, namespace: str | None, n: int) -> None:
    link = next_link("/v2/a/tags/list", n, last, namespace)
    target, _, relation = link.partition("; ")
    parts = urlsplit(target.strip("<>"))
    query = parse_qs(parts.query, keep_blank_values=True)
    assert relation == 'rel="next"'
    assert parts.path == "/v2/a/tags/list"
    assert query == {"n": [str(n)], "last": [last]} | ({} if namespace is None else {"ns": [namespace]})


@given(st.text())
def test_a_reason_phrase_is_one_line_of_ascii(message: str) -> None:
    phrase = reason_phrase(message)
    assert phrase.isascii()
    assert phrase.isprintable()
    assert len(phrase) <= 240
    if message.isascii() and message.isprintable() and len(message) <= 240:
        assert phrase == message


def test_a_warning_is_one_quoted_text() -> None:
    """Fault B16: a list that may not be whole says so (distribution-spec, "Warnings")."""
    assert warning('a "b" \\ c\nd') == "299 - \"a 'b' ? c d\""
