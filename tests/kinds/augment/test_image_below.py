"""What an image has at a path: layers from the top down, whiteouts, links, and how little is read for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from augment_bench import Bench, Files, Hard, tar

from wavelet.kinds.augment import image_below
from wavelet.kinds.augment.image_below import search

FILE = {"etc/a": b"1"}


def found(bench: Bench, layers: Sequence[Files], path: str, *, follow: bool = True) -> tuple[str, int] | None:
    contents = [bench.layer(tar(each)) for each in layers]
    answer = asyncio.run(search(contents, bench, [path], follow=follow)).get(path)  # type: ignore[arg-type]
    return (answer.path, len(layers) - 1 - answer.layer) if answer else None


@pytest.mark.parametrize(
    ("layers", "path", "expected"),
    [
        ([FILE], "etc/a", ("etc/a", 0)),
        ([FILE], "etc/b", None),
        ([FILE, {"etc/b": b""}], "etc/a", ("etc/a", 0)),
        ([FILE, {"etc/a": b"2"}], "etc/a", ("etc/a", 1)),
        ([FILE, {"etc/.wh.a": b""}], "etc/a", None),
        ([FILE, {".wh.etc": b""}], "etc/a", None),
        ([FILE, {".wh.etc": b"", "etc/b": b""}], "etc/a", None),
        ([FILE, {"etc/.wh..wh..opq": b"", "etc/b": b""}], "etc/a", None),
        ([FILE, {"etc/.wh..wh..opq": b"", "etc/a": b""}], "etc/a", ("etc/a", 1)),
        ([FILE, {".wh..wh..opq": b""}], "etc/a", None),
        ([FILE, {"etc/.wh.a": b"", "etc/a": b"new"}], "etc/a", ("etc/a", 1)),
        ([FILE, {"etc/.wh.a": b""}, {"etc/a": b"again"}], "etc/a", ("etc/a", 2)),
        ([FILE, {"etc": b"a file"}], "etc/a", None),
        ([FILE, {"etc": b"a file"}, {"etc/b": b""}], "etc/a", None),
        ([{"etc": b"a file"}, FILE], "etc/a", ("etc/a", 1)),
        ([FILE, {"link": "etc"}], "link/a", ("etc/a", 0)),
        ([{"etc/a": "/usr/a", "usr/a": b""}], "etc/a", ("usr/a", 0)),
        ([{"usr/a": b""}, {"etc/a": "../usr/a"}], "etc/a", ("usr/a", 0)),
        ([{"etc/a": "../usr/a"}, {"usr/a": b""}], "etc/a", ("usr/a", 1)),
        ([{"etc/a": "../../../usr/a"}, {"usr/a": b""}], "etc/a", ("usr/a", 1)),
        ([{"etc/a": "/usr/a"}], "etc/a", None),
        ([{"etc/a": "a"}], "etc/a", None),
        ([{"etc/a": "b", "etc/b": "a"}], "etc/a", None),
        ([{"etc/a": "/"}], "etc/a", None),
        ([{"x/1": "/x/2", "x/2": "/x/3", "x/3": "/y/4", "y": "z", "z/4": b""}], "x/1", ("z/4", 0)),
        ([{"etc/first": b"1", "etc/a": Hard("etc/first")}], "etc/a", ("etc/a", 0)),
        ([{"./etc//a": b""}], "etc/a", ("etc/a", 0)),
    ],
)
def test_where_a_file_is(bench: Bench, layers: Sequence[Files], path: str, expected: tuple[str, int] | None) -> None:
    assert found(bench, layers, path) == expected


def test_a_link_itself_is_found_where_it_is_not_followed(bench: Bench) -> None:
    layers = [{"usr/bin/x": "/nowhere", "bin": "usr/bin"}]
    assert found(bench, layers, "bin/x") is None
    assert found(bench, layers, "bin/x", follow=False) == ("usr/bin/x", 0)


def test_a_chain_that_is_too_long_is_given_up(bench: Bench) -> None:
    many: Files = {f"{number}": f"{number + 1}" for number in range(30)} | {"30": b"end"}
    assert found(bench, [many], "0") is None
    assert bench.runs == []  # small layers are read in threads
    assert found(bench, [many], "26") == ("30", 0)


def test_layers_below_are_not_read_once_all_is_decided(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    part_of = image_below.part_of

    def counted(layer, name, asked, endings=()):  # type: ignore[no-untyped-def]
        read.append(name)
        return part_of(layer, name, asked, endings)

    monkeypatch.setattr(image_below, "part_of", counted)
    assert found(bench, [{"etc/other": b""}, {"usr/a": b"", "etc/a": "/usr/a"}, FILE], "etc/a") == ("etc/a", 2)
    assert len(read) == 1


def test_endings_find_files_wherever_they_are_unless_they_are_hidden(bench: Bench) -> None:
    below = {"opt/jdk/lib/security/cacerts": b"1", "srv/jre/lib/security/cacerts": b"2", "opt/lib/security/no": b""}
    layers = [bench.layer(tar(below)), bench.layer(tar({"srv/.wh.jre": b""}))]
    answer = asyncio.run(search(layers, bench, (), endings=("/lib/security/cacerts",)))  # type: ignore[arg-type]
    assert list(answer) == ["opt/jdk/lib/security/cacerts"]


def test_no_more_matches_of_a_layer_are_heeded_than_a_bound(bench: Bench) -> None:
    many = {f"opt/{number}/lib/security/cacerts": b"x" for number in range(image_below.MATCHES + 10)}
    layers = [bench.layer(tar(many))]
    answer = asyncio.run(search(layers, bench, (), endings=("/lib/security/cacerts",)))  # type: ignore[arg-type]
    assert len(answer) == image_below.MATCHES


def test_what_a_hostile_image_makes_of_paths_is_bounded(bench: Bench) -> None:
    """Without bounds each of these takes gigabytes, or hours."""
    deep = "a/" * 400_000
    assert image_below.closure([f"{deep}b"]) == frozenset()
    seen = image_below._Seen(image_below.closure(["a/a/x"]), ("/lib/x",))
    for number in range(2000):
        seen._imply(f"{deep}{number}")
    assert seen.entries.keys() == {"a", "a/a"}
    layer: Files = {"b/" * 1500 + "lib/x": b"", "etc": "c/" * 2000, "c": "d/" * 2000, "d": "c/" * 2000}
    asked = asyncio.run(search([bench.layer(tar(layer))], bench, ["etc/a"], endings=("/lib/x",)))  # type: ignore[arg-type]
    assert asked == {}


def test_paths_with_an_ending_are_counted_over_all_layers(bench: Bench) -> None:
    layers = [bench.layer(tar({f"{number}-{each}/lib/x": b"" for each in range(40)})) for number in range(3)]
    found = asyncio.run(search(layers, bench, [], endings=("/lib/x",)))  # type: ignore[arg-type]
    assert len(found) == image_below.MATCHES
