"""The packages of an environment that others have too, for images of few layers (pure).

A layer of many packages is shared only by images that have exactly these packages in it. So what many environments have
in common is kept apart from what changes from one to the next: a language and what it needs is the same in all that
were solved for it lately; libraries change with what needs them; and what nothing else needs is what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavelet.kinds.conda.compose.layering import Node

LANGUAGES = ("python", "r-base", "perl", "openjdk")
"""Packages that, with what they need, most of an environment's packages are for."""


def layer_positions(nodes: Sequence[Node], layers: int) -> list[int]:
    """Return for each package in which of the layers it would be by itself, from 0 at the bottom.

    Args:
        nodes: the packages of an environment.
        layers: how many there may be.
    """
    known = {node.name: node for node in nodes}
    common = _closure((name for name in LANGUAGES if name in known), known)
    needed = {name for node in nodes for name in node.needs if name != node.name}
    steps = [names for names in (common, needed - common) if names & known.keys()]
    # With one layer less, libraries are with what was asked for where there is a language, and below it where not.
    steps = steps[: layers - 1]
    places = {name: place for place, names in enumerate(steps) for name in names}
    return [places.get(node.name, len(steps)) for node in nodes]


def _closure(names: Iterable[str], known: dict[str, Node]) -> set[str]:
    reached: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in known and name not in reached:
            reached.add(name)
            waiting += known[name].needs
    return reached
