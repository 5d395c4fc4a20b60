"""Names in layers: where a member belongs, what a name hides, and where a path leads. All of bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.archive.layer_names import (
    FOLLOWED,
    NAME_LIMIT,
    PATH_LIMIT,
    UnfitName,
    cleaned,
    fitting_target,
    hidden,
    is_reserved,
    led_to,
    raw,
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"./a/b/", b"a/b"),
        (b"/a//b", b"a/b"),
        (b"a/./b", b"a/b"),
        (b"a/../b", b"b"),
        (b"../../b", b"b"),
        (b"a/..", b""),
        (b"a/...", b"a/..."),
        (b"./", b""),
        (raw("\udcff/x"), b"\xff/x"),
    ],
)
def test_a_path_begins_at_the_root_and_never_leads_out_of_it(name: bytes, path: bytes) -> None:
    assert cleaned(name) == path


@pytest.mark.parametrize("name", [b"a\0b", b"x" * (NAME_LIMIT + 1), b"/".join([b"x"] * PATH_LIMIT)])
def test_what_no_file_can_be_called(name: bytes) -> None:
    with pytest.raises(UnfitName):
        cleaned(name)


@pytest.mark.parametrize("target", [b"", b"a\0", b"x" * (PATH_LIMIT + 1)])
def test_where_no_symbolic_link_can_lead(target: bytes) -> None:
    with pytest.raises(UnfitName):
        fitting_target(target)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        (b".wh.a", b"a"),
        (b".wh..a", b".a"),
        (b".wh..wh..opq", b""),
        (b".wh..wh.plnk", None),
        (b".wh.", None),
        (b".wh..", None),
        (b".wh...", None),
    ],
)
def test_what_a_reserved_name_hides(name: bytes, gone: bytes | None) -> None:
    assert is_reserved(name)
    assert is_reserved(b"d/" + name + b"/x")
    assert hidden(name) == gone


def test_names_that_are_not_reserved() -> None:
    assert not any(map(is_reserved, (b"", b"a", b".w", b"a.wh.b", b"d/a.wh.b")))


LINKS = {
    b"lib": b"usr/lib",
    b"usr/lib/up": b"../../etc",
    b"usr/lib/absolute": b"/etc/./x/",
    b"out": b"../../..",
    b"a": b"b",
    b"b": b"a",
    b"etc/again": b"../lib/up",
}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"", b""),
        (b"x/y", b"x/y"),
        (b"lib/z", b"usr/lib/z"),
        (b"lib/up/passwd", b"etc/passwd"),
        (b"lib/absolute/y", b"etc/x/y"),
        (b"lib/../x", b"usr/x"),
        (b"out/x", b"x"),
        (b"etc/again/again/x", b"etc/x"),
    ],
)
def test_a_path_leads_through_links(path: bytes, place: bytes) -> None:
    assert led_to(path, LINKS.get) == place


def test_links_that_lead_in_a_circle_are_followed_for_a_while() -> None:
    with pytest.raises(UnfitName, match="on the way to b'a/x' lead in a circle"):
        led_to(b"a/x", LINKS.get)
    chain = {str(at).encode(): str(at + 1).encode() for at in range(FOLLOWED)}
    assert led_to(b"0", chain.get) == str(FOLLOWED).encode()
    with pytest.raises(UnfitName):
        led_to(b"0", (chain | {str(FOLLOWED).encode(): b"end"}).get)


@given(
    st.lists(st.sampled_from([b"a", b"b", b"lib", b"..", b".", b""]), max_size=8).map(b"/".join),
    st.dictionaries(
        st.sampled_from([b"a", b"a/b", b"lib", b"b/a"]), st.sampled_from([b"..", b"/", b"b/..", b"../a/b"])
    ),
)
def test_no_path_leads_out_of_the_root(path: bytes, links: dict[bytes, bytes]) -> None:
    try:
        place = led_to(path, links.get)
    except UnfitName:
        return
    assert place == cleaned(place)
    assert b".." not in place.split(b"/")
