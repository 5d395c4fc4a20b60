"""Several packs as one addition to an image: what they add, in their order, or why they cannot be together. Pure.

Launchers chain: each is started with WAVE_ENTRY_CHAIN saying what it has to start, and the last one with what the image
itself starts. Augmentation sets that variable once, to the image's own entry point, and each launcher needs another
value. So where there are several, the image's `/bin/sh` sets it between them; one alone is started without a shell.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations

from wavelet.image.augment import ENTRY_CHAIN
from wavelet.image.image import merge_env
from wavelet.packs.model import Needs, Pack, PackRefused, Packs, PackUse
from wavelet.plan.node import ContainerConfig, Layer

OWN_CHAIN = "WAVELET_OWN_CHAIN"
"""The variable that holds the image's own entry point until the last launcher is started."""
_NEXT = "WAVELET_CHAIN_{}"
"""Variables that hold what is started after a launcher, numbered from the outermost on."""

_FIRST = f'export {OWN_CHAIN}="${ENTRY_CHAIN}" {ENTRY_CHAIN}="${_NEXT.format(1)}"; exec "$0" "$@"'
_BETWEEN = f'export {ENTRY_CHAIN}="${_NEXT}"; exec "$0" "$@"'
_LAST = (
    f'if [ -n "${OWN_CHAIN}" ]; then export {ENTRY_CHAIN}="${OWN_CHAIN}"; else unset {ENTRY_CHAIN}; fi; exec "$0" "$@"'
)


PACKS_LIMIT = 64
"""Packs that one image takes: each is compared with each other."""


@dataclass(frozen=True, slots=True)
class Combined:
    """What packs add together.

    Attributes:
        config: for augmentation.
        packs: those that are in it, in their order.
        notes: what was left out, and why.
        needs: what an engine has to give a container for them.
    """

    config: ContainerConfig
    packs: tuple[Pack, ...] = ()
    notes: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)


def combined(uses: Sequence[PackUse], packs: Packs, architectures: Collection[str]) -> Combined:
    """Return what packs add to an image, the first one lowest; twice the same is once.

    Args:
        uses: which packs.
        packs: those of this node.
        architectures: for which the image is asked (`amd64`); empty: that is not known, and each image gets what the
            packs have for it.

    Raises:
        PackRefused: there is none such; it has nothing for an architecture; two collide.
    """
    if len({use.name for use in uses}) > PACKS_LIMIT:
        raise PackRefused(f"more than {PACKS_LIMIT} packs; no image takes more")
    chosen: dict[str, Pack] = {}
    notes: dict[str, None] = {}
    for use in uses:
        pack = packs.get(use.name, use.version)
        before = chosen.setdefault(pack.name, pack)
        if before.version != pack.version:
            raise PackRefused(f"the packs {before.reference} and {pack.reference} are two versions of one; name one")
        if lacking := _lacking(pack, architectures):
            if use.missing == "refuse":
                raise PackRefused(f"{lacking}; leave it out, or say that it may be: missing: skip")
            notes[f"{lacking}, and was left out"] = None
            del chosen[pack.name]
    taken = tuple(chosen.values())
    for first, second in combinations(taken, 2):
        if path := _collision(first, second):
            raise PackRefused(f"the packs {first.reference} and {second.reference} both have /{path}; leave one out")
    config = joined([_for(pack.config, architectures) for pack in taken])
    needs = Needs(_united([pack.needs.devices for pack in taken]), _united([pack.needs.capabilities for pack in taken]))
    return Combined(config, taken, tuple(notes), needs)


def _lacking(pack: Pack, architectures: Collection[str]) -> str:
    """Return a sentence that says for which architecture a pack has nothing; empty: there is none such."""
    there = ", ".join(sorted(pack.architectures))
    if not architectures and pack.architectures and pack.entrypoint:
        # An image of another architecture would be started by what is not in it.
        return f"the pack {pack.reference} is for {there}, and it is not said for which platform the image is"
    lacking = sorted(each for each in architectures if not pack.is_for(each))
    return f"the pack {pack.reference} has nothing for {', '.join(lacking)}, only for {there}" if lacking else ""


def _for(config: ContainerConfig, architectures: Collection[str]) -> ContainerConfig:
    wanted = (each for each in config.layers if not architectures or each.architecture in (None, *architectures))
    return replace(config, layers=tuple(wanted))


@lru_cache(maxsize=PACKS_LIMIT * PACKS_LIMIT)
def _collision(first: Pack, second: Pack) -> str:
    """Return a path that two packs have for one architecture, or what is a file of one and a directory of the other."""
    found: set[str] = set()
    for one in first.layers:
        for other in second.layers:
            if None in (one.layer.architecture, other.layer.architecture) or (
                one.layer.architecture == other.layer.architecture
            ):
                found |= one.paths & other.paths
                found |= one.paths & _above(other.paths) | other.paths & _above(one.paths)
    return min(found, default="")


def _above(paths: Collection[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return found


def _united(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for texts in lists for each in texts))


def joined(configs: Sequence[ContainerConfig]) -> ContainerConfig:
    """Return several additions to one image as one: the first one's layers are the lowest, its launcher the innermost.

    Of variables, labels, command and working directory the last one counts.
    """
    layers: dict[tuple[str, str | None], Layer] = {}
    for layer in (layer for config in configs for layer in config.layers):
        layers.setdefault((layer.digest, layer.architecture), layer)
    entrypoint, chain = _chained([config.entrypoint for config in configs if config.entrypoint])
    return ContainerConfig(
        entrypoint,
        next((config.cmd for config in reversed(configs) if config.cmd), ()),
        tuple(merge_env(*(config.env for config in configs), chain)),
        next((config.working_dir for config in reversed(configs) if config.working_dir), ""),
        tuple(layers.values()),
        tuple(sorted(dict(label for config in configs for label in config.labels).items())),
    )


def _chained(launchers: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[str]]:
    """Return the entry point that starts launchers, the last one first, and the variables that it takes for that."""
    distinct = list(dict.fromkeys(reversed(launchers)))
    if len(distinct) < 2:
        return (distinct[0] if distinct else ()), []
    scripts = [_FIRST, *(_BETWEEN.format(number) for number in range(2, len(distinct))), _LAST]
    steps = [("/bin/sh", "-c", script, *launcher) for script, launcher in zip(scripts, distinct, strict=True)]
    rest = [f"{_NEXT.format(number)}={json.dumps(step)}" for number, step in enumerate(steps[1:], 1)]
    return steps[0], rest
