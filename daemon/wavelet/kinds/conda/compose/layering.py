"""The layering of an environment: the orders of its packages, and which of them share a layer. Pure.

`topological` is the order in which packages take precedence: of two that have the same path, the later one's file is
there in the end. It is the order of rattler's installation, so that clobbered paths come out as they do there.

`heaviest_first` is the order in which layers are stacked as far as precedence leaves it open. Docker has a layer only
under the chain of all layers below it, so two images share no more than their first layers: what environments have in
common has to come first, in the same sequence, and what is specific last. Large packages come before small ones, and
among them what the heaviest root needs comes first: the sequence of a root's closure depends on that closure alone.
An engine that has a real environment fetches 4 % of one with a further tool (that is up to a tenth of its bytes) with
this order, 5 % with layers by size alone, 36 % by number of dependents; 12 % is exceeded in 2, 4 and 19 of 44 cases.

Engines bound the number of layers, so the largest packages have their own and small ones share. A layer must not name
a path twice, and of packages with the same path the later one's file has to win: packages in conflict are in different
layers, the later one above. That gives what rattler's precedence gives, where two packages want a path to be different
things too: a file or symbolic link above a directory hides all that is in it, a directory above a file replaces it.
Rattler itself is not deterministic in these cases (what it moves aside depends on the order in which links are made);
here the later package always wins, and what a file has hidden stays hidden if a third package brings the directory
back.

Where so many packages are in conflict with each other that layers would run out, the last of them are merged into one
layer that leaves out what is lost.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from wavelet.errors import InvalidRequest

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


IMAGE_LIMIT = 120
"""Layers of an image in all, with what is added later; Docker's overlay2 mounts 125."""

RESERVE = 16
"""Layers of `IMAGE_LIMIT` that are left to augmentation."""

OWN_LIMIT = 80
"""Packages with a layer of their own; what more would save in stored bytes is lost in the time of pulling.

Of a hundred packages, the layer that the others share has then 2 % of all bytes; with 59 it would have 4 %, which an
engine downloads again when any of them has changed.
"""

RANKS = 12
"""How deep conflicts are stacked before packages are merged."""


FEW = 4
"""Layers above the base of an image that is to have few: those of packages, what scripts changed, and its own."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that a package brings: `leaves` are files and symbolic links. `weight` is the bytes of its tar."""

    leaves: frozenset[str]
    directories: frozenset[str]
    weight: int


@dataclass(frozen=True, slots=True)
class Group:
    """Packages that make up a layer, by their numbers.

    Attributes:
        members: one for a layer of its own; more are put together.
        lost: of a merged layer, the paths of each member that are left out.
    """

    members: tuple[int, ...]
    lost: tuple[frozenset[str], ...] = ()


def budget(base_layers: int, others: int) -> int:
    """Return how many layers packages may take on a base, beside `others` and what is reserved.

    Raises:
        InvalidRequest: there is none left.
    """
    left = IMAGE_LIMIT - RESERVE - base_layers - others
    if left < 1:
        message = (
            f"the base image has {base_layers} layers; {IMAGE_LIMIT - RESERVE - others - 1} at most leave room for"
        )
        raise InvalidRequest(f"{message} packages and what is added to an image later", field="packages")
    return left


def group(packages: Sequence[Paths], sequence: Sequence[int], layers: int) -> list[Group]:
    """Return the layers from the bottom up.

    Args:
        packages: in their order of precedence, the one that wins last.
        sequence: their numbers as they are stacked where precedence leaves it open.
        layers: how many there may be.
    """
    below = _below(packages)
    ranks = _ranks(below, min(RANKS, layers) - 1)
    last = max(ranks, default=0)
    merged = [
        number for number, rank in enumerate(ranks) if rank == last and any(ranks[b] == last for b in below[number])
    ]
    if merged:
        merged = [number for number, rank in enumerate(ranks) if rank == last]
    stacked = [number for number in sequence if ranks[number] < last or not merged]
    own = _largest(packages, stacked, min(OWN_LIMIT, layers - last - 1))
    groups = _stack(stacked, own, ranks, below)
    return [*groups, Group(tuple(merged), _lost([packages[n] for n in merged]))] if merged else groups


def few(packages: Sequence[Paths], sequence: Sequence[int], positions: Sequence[int], layers: int) -> list[Group]:
    """Return the layers from the bottom up, where there are to be few of them.

    Args:
        packages, sequence, layers: as for `group`.
        positions: in which layer each package would be by itself, from 0; see `compose.common_packages`.
    """
    below, top = _below(packages), layers - 1
    places = [min(position, top) for position in positions]
    # Of packages in conflict the earlier one goes down as far as it can, and then the later one up.
    for number in reversed(range(len(packages))):
        for other in below[number]:
            places[other] = max(0, min(places[other], places[number] - 1))
    for number in range(len(packages)):
        places[number] = min(top, max([places[number], *(places[other] + 1 for other in below[number])]))
    groups: list[Group] = []
    for place in sorted(set(places)):
        members = [number for number in sequence if places[number] == place]
        if any(places[other] == place for number in members for other in below[number]):
            members.sort()
            groups.append(Group(tuple(members), _lost([packages[number] for number in members])))
        else:
            groups.append(Group(tuple(members)))
    return groups


def _below(packages: Sequence[Paths]) -> list[set[int]]:
    """Return for each package the earlier ones that it is in conflict with."""
    below: list[set[int]] = [set() for _ in packages]
    contested = _contested(packages)
    if not contested:
        return below
    leaves: dict[str, list[int]] = defaultdict(list)
    directories: dict[str, list[int]] = defaultdict(list)
    for number, package in enumerate(packages):
        for path in package.leaves & contested:
            below[number].update(leaves[path], directories[path])
            leaves[path].append(number)
        for path in package.directories & contested:
            below[number].update(leaves[path])
            directories[path].append(number)
    return below


def _contested(packages: Sequence[Paths]) -> set[str]:
    """Return the paths that are a leaf of one package, and of another a leaf or a directory."""
    seen: set[str] = set()
    directories: set[str] = set()
    contested: set[str] = set()
    for package in packages:
        if not seen.isdisjoint(package.leaves):
            contested |= seen & package.leaves
        seen |= package.leaves
        directories |= package.directories
    return contested | (seen & directories)


def _ranks(below: Sequence[Iterable[int]], highest: int) -> list[int]:
    """Return for each package how many layers of conflict lie under it, `highest` at most."""
    ranks: list[int] = []
    for others in below:
        ranks.append(min(highest, max((ranks[other] + 1 for other in others), default=0)))
    return ranks


def _largest(packages: Sequence[Paths], numbers: Sequence[int], count: int) -> set[int]:
    by_weight = sorted(numbers, key=lambda number: -packages[number].weight)
    return set(by_weight[: max(count, 0)])


def _stack(numbers: Sequence[int], own: set[int], ranks: Sequence[int], below: Sequence[set[int]]) -> list[Group]:
    """Return own layers as deep as they may lie, and a shared one wherever something has to lie above it."""
    storey: dict[int, int] = {}
    for number in sorted(numbers):
        storey[number] = max((storey[b] + (b not in own) for b in below[number]), default=0)
    groups: list[Group] = []
    for each in sorted(set(storey.values())):
        here = [number for number in numbers if storey[number] == each]
        alone = sorted((number for number in here if number in own), key=lambda number: ranks[number])
        shared = tuple(number for number in here if number not in own)
        groups += [Group((number,)) for number in alone] + ([Group(shared)] if shared else [])
    return groups


def _lost(packages: Sequence[Paths]) -> tuple[frozenset[str], ...]:
    """Return for each package, in their order of precedence, the paths that a later one takes from it."""
    lost: list[frozenset[str]] = []
    leaves: set[str] = set()
    directories: set[str] = set()
    for package in reversed(packages):
        taken = {path for path in package.leaves if path in leaves or path in directories or _inside(path, leaves)}
        taken |= {path for path in package.directories if path in leaves or _inside(path, leaves)}
        lost.append(frozenset(taken))
        leaves |= package.leaves - taken
        directories |= package.directories - taken
    return tuple(reversed(lost))


def _inside(path: str, leaves: set[str]) -> bool:
    parent = path.rpartition("/")[0]
    return bool(parent) and (parent in leaves or _inside(parent, leaves))
