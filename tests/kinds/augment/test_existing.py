"""Layers that give way to what an image has: `WAVELET.keep=existing`."""

from __future__ import annotations

import pytest
from augment_bench import Bench, Files, Hard, tar

from wavelet.errors import InvalidRequest

TOOLS: Files = {
    "bin/awk": b"box",
    "bin/bash": b"bash",
    "bin/grep": Hard("bin/awk"),
    "bin/ps": Hard("bin/awk"),
    "usr/share/note": b"n",
}


def test_an_image_that_lacks_everything_gets_the_layer_as_it_is(bench: Bench) -> None:
    added = bench.added(tar(TOOLS, keep=True))
    assert bench.fit([tar({"data": b""})], [added]).layers == [added]


def test_an_image_that_has_everything_gets_nothing(bench: Bench) -> None:
    image = tar(dict.fromkeys(TOOLS, b"own"))
    assert bench.fit([image], [bench.added(tar(TOOLS, keep=True, directories=True))]).layers == []
    assert "left out" in bench.lines[-1]


def test_what_the_image_has_stays_and_the_rest_is_added(bench: Bench) -> None:
    image = tar({"bin/bash": b"own", "usr/share/note": "/nowhere"})
    [(layer, content)] = bench.fit([image], [bench.added(tar(TOOLS, keep=True, directories=True))]).layers
    expected = {"bin/awk": b"box", "bin/grep": Hard("bin/awk"), "bin/ps": Hard("bin/awk")}
    assert bench.contents(content) == expected
    assert layer.diff_id == content.descriptor.digest


def test_the_contents_of_a_file_go_to_the_first_of_its_names_that_stays(bench: Bench) -> None:
    [(_, content)] = bench.fit([tar({"bin/awk": b"own"})], [bench.added(tar(TOOLS, keep=True))]).layers
    left = bench.contents(content)
    assert left["bin/grep"] == b"box"
    assert left["bin/ps"] == Hard("bin/grep")
    assert "bin/awk" not in left


def test_a_path_through_a_link_of_the_image_is_had_and_the_rest_goes_where_it_leads(bench: Bench) -> None:
    image = tar({"bin": "usr/bin", "usr/bin/bash": b"own"})
    [(_, content)] = bench.fit([image], [bench.added(tar(TOOLS, keep=True))]).layers
    assert bench.contents(content) == {
        "usr/bin/awk": b"box",
        "usr/bin/grep": Hard("usr/bin/awk"),
        "usr/bin/ps": Hard("usr/bin/awk"),
        "usr/share/note": b"n",
    }


def test_members_without_the_mark_are_put_on_top_whatever_is_there(bench: Bench) -> None:
    added = bench.added(tar(TOOLS))
    assert bench.fit([tar({"bin/bash": b"own"})], [added]).layers == [added]


def test_layers_for_another_architecture_are_left_as_they_are(bench: Bench) -> None:
    added = bench.added(tar(TOOLS, keep=True), "arm64")
    assert bench.fit([tar(dict.fromkeys(TOOLS, b"own"))], [added]).layers == [added]


def test_an_image_is_not_read_for_layers_without_marks(bench: Bench) -> None:
    added = bench.added(tar({"opt/x": b"x"}))
    broken = b"not a tar"
    assert bench.fit([broken], [added]).layers == [added]


def test_a_layer_with_too_many_members_that_give_way_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavelet.kinds.augment.marks.KEPT_LIMIT", 3)
    with pytest.raises(InvalidRequest, match=r"more than 3 members with WAVELET\.keep=existing"):
        bench.fit([], [bench.added(tar(TOOLS, keep=True))])


def test_paths_that_would_fill_memory_are_refused(bench: Bench) -> None:
    """Each of a path's directories is looked for in the image."""
    many: Files = {f"{number}/" + "a/" * 2000 + "b": b"" for number in range(20)}
    with pytest.raises(InvalidRequest, match="has too deep paths of members with"):
        bench.fit([tar({"a": b""})], [bench.added(tar(many, keep=True))])
