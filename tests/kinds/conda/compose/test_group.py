"""Grouping: never too many layers, no path twice in one, and the later package's path is there in the end."""

from __future__ import annotations

import time
import timeit
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.compose.common_packages import layer_positions
from wavelet.kinds.conda.compose.layering import IMAGE_LIMIT, OWN_LIMIT, RESERVE, Group, Node, Paths, budget, few, group


def paths(*leaves: str, weight: int = 1) -> Paths:
    """Return a package with these leaves, and directories for them."""
    directories = {""} | {leaf[:cut] for leaf in leaves for cut, c in enumerate(leaf) if c == "/"}
    return Paths(frozenset(leaves), frozenset(directories), weight)


def unpacked(packages: list[Paths], groups: list[Group]) -> dict[str, int | None]:
    """Return what is at each path when the layers are over each other, as overlayfs has it; None is a directory."""
    tree: dict[str, int | None] = {}
    for each in groups:
        layer: dict[str, int | None] = {}
        for number, lost in zip(each.members, each.lost or [frozenset[str]()] * len(each.members), strict=True):
            for leaf in packages[number].leaves - lost:
                assert leaf not in layer, "a layer names a path twice"
                layer[leaf] = number
            for directory in packages[number].directories - lost:
                assert layer.get(directory) is None, "a layer has a file and a directory of one name"
                layer[directory] = None
        for path, what in layer.items():
            if what is not None or tree.get(path, 0) is not None:
                for inner in [p for p in tree if p.startswith(path + "/")]:
                    if inner not in layer:
                        del tree[inner]
            tree[path] = what
    return tree


def expected(packages: list[Paths]) -> dict[str, int | None]:
    """Return the same of one layer for each package."""
    return unpacked(packages, [Group((number,)) for number in range(len(packages))])


def test_small_environments_have_a_layer_for_each_package() -> None:
    packages = [paths(f"lib/{n}", weight=n) for n in range(5)]
    assert group(packages, [4, 3, 2, 1, 0], 50) == [Group((n,)) for n in (4, 3, 2, 1, 0)]


def test_the_smallest_share_a_layer() -> None:
    packages = [paths(f"lib/{n}", weight=n) for n in range(200)]
    groups = group(packages, range(200), 103)
    assert groups == [*(Group((n,)) for n in range(200 - OWN_LIMIT, 200)), Group(tuple(range(200 - OWN_LIMIT)))]
    assert len(groups) == OWN_LIMIT + 1
    assert len(group(packages, range(200), 10)) == 10
    assert group(packages, range(200), 1) == [Group(tuple(range(200)))]


def test_packages_that_clobber_are_apart_and_in_order() -> None:
    packages = [*(paths(f"lib/{n}", weight=9) for n in range(100)), paths("a"), paths("a"), paths("b"), paths("b")]
    groups = group(packages, range(104), 30)
    where = {number: place for place, each in enumerate(groups) for number in each.members}
    assert where[100] < where[101]
    assert where[102] < where[103]
    assert where[100] == where[102], "packages without a conflict share"
    assert len(groups) <= 30


def test_a_file_over_a_directory_and_the_other_way_round() -> None:
    directory, file = paths("lib/x/inner", "lib/y"), paths("lib/x")
    assert unpacked([directory, file], group([directory, file], [1, 0], 9))["lib/x"] == 1
    tree = unpacked([file, directory], group([file, directory], [0, 1], 9))
    assert (tree["lib/x"], tree["lib/x/inner"]) == (None, 1)


def test_many_packages_with_the_same_path_are_merged() -> None:
    packages = [paths(f"lib/{n}", "lib/same", "doc/only" if n % 2 else "doc/only/inner") for n in range(90)]
    groups = group(packages, range(90), 40)
    assert len(groups) <= 40
    assert any(each.lost for each in groups)
    tree = unpacked(packages, groups)
    assert tree["lib/same"] == 89
    assert tree["doc/only"] == 89
    assert "doc/only/inner" not in tree


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a/d", "e", "e/f"])


@st.composite
def consistent(draw: st.DrawFn) -> Paths:
    """Return a package that does not contradict itself."""
    leaves = draw(st.sets(PATHS, max_size=4))
    leaves = {leaf for leaf in leaves if not any(other.startswith(leaf + "/") for other in leaves)}
    return paths(*leaves, weight=draw(st.integers(0, 9)))


@settings(deadline=None)
@given(st.lists(consistent(), max_size=9), st.integers(1, 12), st.randoms())
def test_whatever_clashes_comes_out_as_one_layer_after_the_other(
    packages: list[Paths], layers: int, random: object
) -> None:
    sequence = list(range(len(packages)))
    random.shuffle(sequence)  # type: ignore[attr-defined]
    groups = group(packages, sequence, layers)
    assert len(groups) <= layers
    assert sorted(number for each in groups for number in each.members) == list(range(len(packages)))
    found, wanted = unpacked(packages, groups), expected(packages)
    if any(each.lost for each in groups):
        # Where a third package brings a directory back, what is merged has what a file has hidden before.
        assert {p: n for p, n in wanted.items() if n is not None}.items() <= found.items()
    else:
        assert found == wanted


@settings(deadline=None)
@given(
    st.lists(st.tuples(consistent(), st.integers(0, 3)), max_size=9),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_few_layers_come_out_as_one_layer_after_the_other_too(
    drawn: list[tuple[Paths, int]], layers: int, random: Random
) -> None:
    packages, positions = [package for package, _ in drawn], [position for _, position in drawn]
    sequence = list(range(len(packages)))
    random.shuffle(sequence)
    groups = few(packages, sequence, positions, layers)
    assert len(groups) <= layers
    assert sorted(number for each in groups for number in each.members) == list(range(len(packages)))
    found, wanted = unpacked(packages, groups), expected(packages)
    if any(each.lost for each in groups):
        assert {p: n for p, n in wanted.items() if n is not None}.items() <= found.items()
    else:
        assert found == wanted


def test_of_few_layers_each_has_a_position_and_conflicts_move_the_earlier_one_down() -> None:
    packages = [paths(f"lib/{n}") for n in range(4)]
    assert few(packages, [3, 2, 1, 0], [0, 0, 1, 2], 3) == [Group((1, 0)), Group((2,)), Group((3,))]
    assert few(packages, [3, 2, 1, 0], [0, 0, 1, 2], 1) == [Group((3, 2, 1, 0))]
    packages = [paths("lib/a"), paths("same"), paths("same")]
    assert few(packages, [0, 1, 2], [0, 2, 2], 3) == [Group((0,)), Group((1,)), Group((2,))]
    merged = few(packages, [0, 1, 2], [0, 0, 0], 1)
    assert merged == [Group((0, 1, 2), (frozenset(), frozenset({"same"}), frozenset()))]


def test_layers_are_a_language_its_libraries_and_what_was_asked_for() -> None:
    nodes = [
        Node("python", ("zlib", "openssl >=3")),
        Node("zlib"),
        Node("openssl"),
        Node("htslib", ("zlib",)),
        Node("samtools", ("htslib", "zlib")),
        Node("pysam", ("python", "htslib")),
    ]
    assert layer_positions(nodes, 3) == [0, 0, 0, 1, 2, 2]
    assert layer_positions(nodes, 2) == [0, 0, 0, 1, 1, 1]
    assert layer_positions(nodes, 1) == [0] * 6
    assert layer_positions([nodes[1], nodes[3], nodes[4]], 3) == [0, 0, 1]
    assert layer_positions([nodes[4]], 3) == [0]
    assert layer_positions([], 3) == []


def test_budget() -> None:
    assert budget(1, 2) == IMAGE_LIMIT - RESERVE - 3
    with pytest.raises(InvalidRequest, match="103 layers"):
        budget(103, 2)


def test_a_hundred_packages_are_grouped_at_once() -> None:
    packages = [
        paths(*(f"lib/python3.12/site-packages/p{n}/d{k % 9}/{k}" for k in range(500)), weight=n) for n in range(100)
    ]
    assert len(group(packages, range(100), 100)) == OWN_LIMIT + 1
    spent = timeit.repeat(lambda: group(packages, range(100), 100), timer=time.thread_time, repeat=5, number=1)
    assert min(spent) < 0.05
