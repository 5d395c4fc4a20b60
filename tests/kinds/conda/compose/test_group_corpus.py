"""Grouping over nf-core's locks: within the limit, with few bytes stored twice, and alike for similar environments."""

from __future__ import annotations

import statistics
import time
import timeit
from typing import Any

import pytest
from locked import entry, locks
from test_order import rattler

from wavelet.image.image import Content, MadeBy
from wavelet.kinds.conda.compose.layering import IMAGE_LIMIT, RESERVE, budget, group, heaviest_first, topological
from wavelet.kinds.conda.compose.made_parts import Part

BASE_LAYERS = 5


def parts(records: list[dict[str, Any]]) -> list[Part]:
    """Return the parts of a lock in their order of precedence."""
    found = {}
    for record in records:
        package, info = entry(record)
        part = Part(package, info, Content(info.descriptor, MadeBy("x")))
        found[part.node.name] = part
    return [found[name] for name in topological([part.node for part in found.values()])]


def chain(packages: list[Part]) -> list[tuple[tuple[str, ...], int]]:
    """Return an image's layers: what is in each, and its bytes."""
    place = {part.node.name: number for number, part in enumerate(packages)}
    sequence = [place[name] for name in heaviest_first([part.node for part in packages])]
    groups = group([part.paths for part in packages], sequence, budget(BASE_LAYERS, 1))
    return [
        (tuple(packages[n].info.digest for n in each.members), sum(packages[n].info.size for n in each.members))
        for each in groups
    ]


@pytest.mark.process
def test_precedence_is_rattlers_in_real_environments() -> None:
    every = [[part.node for part in parts(records)] for records in locks().values()]
    assert [topological(nodes) for nodes in every] == rattler(every)


def test_no_image_has_too_many_layers_and_few_bytes_are_stored_twice() -> None:
    chains = {name: chain(parts(records)) for name, records in locks().items()}
    assert max(len(layers) for layers in chains.values()) + BASE_LAYERS + 1 + RESERVE <= IMAGE_LIMIT
    packages = {
        digest: size
        for name in locks()
        for p, info in map(entry, locks()[name])
        for digest, size in [(info.digest, info.size)]
    }
    stored = {members: size for layers in chains.values() for members, size in layers if len(members) > 1}
    overhead = sum(stored.values()) / sum(packages.values())
    print(f"{len(chains)} images, at most {max(map(len, chains.values()))} layers; tails add {overhead:.1%} of bytes")
    assert overhead < 0.06


def test_a_tool_more_shares_most_of_the_layers_below_it() -> None:
    """What Docker fetches if an environment differs by one root: nothing but what is above the first difference."""
    shares = []
    for records in locks().values():
        whole = parts(records)
        needed = {need for part in whole for need in part.node.needs}
        names = {part.node.name for part in whole}
        for root in sorted(names - needed):
            kept = reachable(whole, names - needed - {root})
            if len(kept) < 10 or sum(p.info.size for p in whole if p.node.name not in kept) > 0.1 * sum(
                p.info.size for p in whole
            ):
                continue
            smaller = chain([part for part in whole if part.node.name in kept])
            larger = chain(whole)
            same = next((n for n, (a, b) in enumerate(zip(smaller, larger, strict=False)) if a != b), len(smaller))
            shares.append(sum(size for _, size in larger[same:]) / sum(size for _, size in larger))
    print(
        f"{len(shares)} pairs: {statistics.mean(shares):.1%} fetched on average, median {statistics.median(shares):.1%}"
    )
    assert statistics.mean(shares) < 0.25


def reachable(packages: list[Part], roots: set[str]) -> set[str]:
    """Return the names of roots and of all that they need."""
    needs = {part.node.name: part.node.needs for part in packages}
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in needs and name not in found:
            found.add(name)
            waiting += needs[name]
    return found


@pytest.mark.parametrize("name", ["vuegen.linux-64"])
def test_the_largest_environment_is_grouped_at_once(name: str) -> None:
    packages = parts(locks()[name])
    assert min(timeit.repeat(lambda: chain(packages), timer=time.thread_time, repeat=5, number=1)) < 0.1
