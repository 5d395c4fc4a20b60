"""The order of precedence is rattler's; the order of stacking shares a prefix between similar environments."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelet.kinds.conda.compose.layering import LARGE, Node, heaviest_first, name_of, topological

RATTLER = """
import json, sys
from rattler import PackageRecord
from rattler.package import BuildString
for line in sys.stdin:
    records = []
    for name, depends, noarch in json.loads(line):
        records.append(PackageRecord(name, "1", BuildString("0"), 0, "linux-64", depends=depends,
                                     noarch="generic" if noarch else None))
    print(json.dumps([r.name.normalized for r in PackageRecord.sort_topologically(records)]), flush=True)
"""


def rattler(graphs: Sequence[Sequence[Node]]) -> list[list[str]]:
    """Return the order that rattler gives each of the graphs."""
    lines = "".join(json.dumps([[n.name, n.depends, n.noarch] for n in graph]) + "\n" for graph in graphs)
    done = subprocess.run(
        [sys.executable, "-c", RATTLER], input=lines, check=False, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


NAMES = "abcdefg"
GRAPHS = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(st.lists(st.sampled_from(NAMES + "x"), max_size=4), st.booleans()), min_size=1
).map(lambda d: [Node(name, tuple(depends), noarch) for name, (depends, noarch) in d.items()])


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("python >=3.0", "python"),
        ("python", "python"),
        ("python=*=*", "python"),
        ("Pillow>=10", "pillow"),
        ("numpy[version='>=1']", "numpy"),
        ("conda-forge::zlib 1.2", "zlib"),
        ("__glibc >=2.17,<3.0.a0", "__glibc"),
    ],
)
def test_names_of_specs(spec: str, name: str) -> None:
    assert name_of(spec) == name


@pytest.mark.process
def test_precedence_is_rattlers() -> None:
    source = random.Random(4)

    def graph() -> list[Node]:
        names = source.sample(NAMES, source.randint(1, len(NAMES)))
        return [
            Node(n, tuple(source.choices(NAMES + "x", k=source.randint(0, 3))), source.random() < 0.4) for n in names
        ]

    graphs = [graph() for _ in range(2000)]
    for each, wanted in zip(graphs, rattler(graphs), strict=True):
        assert topological(each) == wanted, each


@pytest.mark.process
def test_precedence_of_a_real_cycle() -> None:
    graph = [Node("python", ("pip", "zlib")), Node("pip", ("python", "wheel"), True), Node("zlib"), Node("wheel")]
    assert topological(graph) == rattler([graph])[0]
    assert topological(graph)[-1] == "pip"


@given(GRAPHS)
def test_precedence_does_not_depend_on_how_packages_are_listed(graph: list[Node]) -> None:
    assert topological(graph) == topological(list(reversed(graph)))
    assert sorted(heaviest_first(graph)) == sorted(node.name for node in graph)
    assert heaviest_first(graph) == heaviest_first(list(reversed(graph)))


def test_what_is_common_comes_first() -> None:
    libc, python = Node("libc", weight=LARGE), Node("python", ("libc",), weight=9 * LARGE)
    numpy = Node("numpy", ("python",), weight=4 * LARGE)
    small = [Node("tool", ("libc",), weight=5), Node("base", weight=3)]
    one = heaviest_first([libc, python, numpy, *small])
    more = heaviest_first([libc, python, numpy, *small, Node("extra", ("libc",), weight=2 * LARGE)])
    assert one == ["libc", "python", "numpy", "tool", "base"]
    assert more == ["libc", "python", "numpy", "extra", "tool", "base"]


def test_a_chain_of_any_depth() -> None:
    chain = [Node("p0"), *(Node(f"p{n}", (f"p{n - 1}",), weight=1) for n in range(1, 3000))]
    assert topological(chain) == [f"p{n}" for n in range(3000)]
