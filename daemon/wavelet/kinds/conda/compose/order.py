"""Two orders of an environment's packages (pure).

`topological` is the order in which packages take precedence: of two that have the same path, the later one's file is
there in the end. It is the order of rattler's installation, so that clobbered paths come out as they do there.

`heaviest_first` is the order in which layers are stacked as far as precedence leaves it open. Docker has a layer only
under the chain of all layers below it, so two images share no more than their first layers: what environments have in
common has to come first, in the same sequence, and what is specific last. Large packages come before small ones, and
among them what the heaviest root needs comes first: the sequence of a root's closure depends on that closure alone.
An engine that has a real environment fetches 4 % of one with a further tool (that is up to a tenth of its bytes) with
this order, 5 % with layers by size alone, 36 % by number of dependents; 12 % is exceeded in 2, 4 and 19 of 44 cases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

LARGE = 2 * 1024 * 1024
"""Bytes of tar from which a package's layer comes before those of small ones."""

_NAME_END = re.compile(r"[\s=<>!~;\[,@]")


@dataclass(frozen=True)
class Node:
    """One package as ordering sees it.

    Attributes:
        name: in lower case; unique in an environment.
        depends: match specs, as the package states them.
        noarch: whether it is the same for all platforms.
        weight: bytes of its tar.
    """

    name: str
    depends: tuple[str, ...] = ()
    noarch: bool = False
    weight: int = 0

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The names in `depends`, in their order."""
        return tuple(name_of(spec) for spec in self.depends)


def name_of(spec: str) -> str:
    """Return the package's name, in lower case, of a match spec as packages state their dependencies."""
    return _NAME_END.split(spec.strip().rpartition("::")[2], maxsplit=1)[0].lower()


def topological(nodes: Iterable[Node]) -> list[str]:
    """Return the names with dependencies before dependents; where that leaves a choice, from z to a.

    A cycle is broken where a package for one platform needs one for all, else at its last edge, reversed as rattler
    does; what then still hangs together in a ring starts at its first name from z.
    """
    known = {node.name: node for node in nodes}
    broken = _broken_edges(known)
    needs = {
        name: sorted((n for n in node.needs if n in known and (name, n) not in broken), reverse=True)
        for name, node in known.items()
    }
    needed = {other for others in needs.values() for other in others}
    roots = sorted(known.keys() - needed, reverse=True)
    return _depth_first([*roots, *sorted(known, reverse=True)], needs)


def heaviest_first(nodes: Sequence[Node]) -> list[str]:
    """Return the names in the sequence in which layers share best (see the module)."""
    known = {node.name: node for node in nodes}
    closures = _closures(known, topological(nodes))
    weights = {name: sum(known[each].weight for each in closure) for name, closure in closures.items()}

    def by_weight(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (-weights[name], name))

    needs = {name: by_weight({n for n in node.needs if n in known}) for name, node in known.items()}
    sequence = _depth_first(by_weight(known), needs)
    return sorted(sequence, key=lambda name: known[name].weight < LARGE)


def _depth_first(starts: Iterable[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return every name that is reached, each after all that it needs."""
    order: dict[str, None] = {}
    seen: set[str] = set()
    stack = [(name, False) for name in reversed(list(starts))]
    while stack:
        name, finished = stack.pop()
        if finished:
            order[name] = None
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack += [(other, False) for other in reversed(needs[name]) if other not in seen]
    return list(order)


def _closures(known: Mapping[str, Node], order: Sequence[str]) -> dict[str, set[str]]:
    """Return what each package needs, itself among it. Along a broken edge only the other package itself counts."""
    closures: dict[str, set[str]] = {}
    for name in order:
        closures[name] = {name}.union(*(closures.get(n, {n}) for n in known[name].needs if n in known))
    return closures


def _broken_edges(known: Mapping[str, Node]) -> set[tuple[str, str]]:
    return {_broken_edge(cycle, known) for cycle in _cycles(known)}


def _broken_edge(cycle: Sequence[str], known: Mapping[str, Node]) -> tuple[str, str]:
    pairs = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    for one, other in pairs:
        if known[one].noarch != known[other].noarch:
            return (other, one) if known[one].noarch else (one, other)
    one, other = pairs[-1]
    return other, one


def _cycles(known: Mapping[str, Node]) -> list[list[str]]:
    """Return cycles that a search from a to z comes across; every ring has one of its cycles among them."""
    cycles: list[list[str]] = []
    seen: set[str] = set()
    for start in sorted(known):
        if start not in seen:
            _search(start, known, seen, cycles.append)
    return cycles


def _search(start: str, known: Mapping[str, Node], seen: set[str], found: Callable[[list[str]], None]) -> None:
    seen.add(start)
    path = {start: None}
    stack = [(start, iter(known[start].needs))]
    while stack:
        name, rest = stack[-1]
        for other in rest:
            if other in path:
                names = list(path)
                found(names[names.index(other) :])
            elif other in known and other not in seen:
                seen.add(other)
                path[other] = None
                stack.append((other, iter(known[other].needs)))
                break
        else:
            del path[name]
            stack.pop()
