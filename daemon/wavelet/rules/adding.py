"""Packs, environment and labels put into a plan: on its image, or below what only says where that goes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wavelet.image.image import merge_env
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.packs.combined import combined
from wavelet.packs.model import Pack, PackRefused, Packs, PackUse
from wavelet.plan.node import Additions, ContainerConfig, Node, walk


@dataclass(frozen=True, slots=True)
class Addition:
    """What is to be added: packs in their order, the lowest first, and then the rest."""

    packs: tuple[PackUse, ...] = ()
    env: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """A plan with what was added to it.

    Attributes:
        plan: None: nothing can be added to it, for it is copied as it is.
        packs: that are in it now.
        notes: on packs that were left out.
    """

    plan: Node | None
    packs: tuple[Pack, ...] = ()
    notes: tuple[str, ...] = field(default=())


def add(plan: Node, addition: Addition, packs: Packs, rules: tuple[str, ...]) -> Added:
    """Return a plan with an addition; `rules` are those of the site that want it.

    Raises:
        PackRefused: a pack cannot be used, is not for the image's architecture, or collides with another one.
    """
    notes: list[str] = []
    used = tuple(_used(addition.packs, architectures_of(plan), packs, notes))
    config = combined(used)
    config = replace(
        config,
        env=tuple(merge_env([*config.env, *addition.env])),
        labels=tuple(sorted(dict(addition.labels).items())),
    )
    return Added(_on(plan, config, rules), used, tuple(notes))


def architectures_of(plan: Node) -> frozenset[str]:
    """Return for which architectures a plan is; empty: it names none, and is for whatever there is."""
    platforms = {platform for node in walk(plan) for platform in node.description.platforms}
    return frozenset(each.architecture for each in platforms)


def _used(uses: Sequence[PackUse], architectures: frozenset[str], packs: Packs, notes: list[str]) -> list[Pack]:
    found: dict[str, Pack] = {}
    for use in uses:
        pack = packs.get(use.name, use.version)
        lacking = sorted(each for each in architectures if not pack.is_for(each))
        if not lacking:
            found.setdefault(pack.reference, pack)
            continue
        why = f"the pack {pack.reference} has nothing for {' and '.join(lacking)}"
        if use.missing == "refuse":
            raise PackRefused(f"{why}, only for {', '.join(sorted(pack.architectures))}", field="packs")
        notes.append(f"{why}, and was left out")
    return list(found.values())


def _on(plan: Node, config: ContainerConfig, rules: tuple[str, ...]) -> Node | None:
    """Return a plan with a configuration added; None where nothing can be."""
    if plan.additions is Additions.NOWHERE:
        return None
    if plan.additions is Additions.BELOW:
        children = [_on(child, config, rules) for child in plan.children]
        return None if None in children else plan.with_children([each for each in children if each is not None])
    config = _for(config, architectures_of(plan))
    if not isinstance(plan, AugmentedImage):
        return AugmentedImage(plan, config, (), rules) if config else plan
    if plan.config.entrypoint and config.entrypoint:
        # Each launcher hands on to the next one, so that both are needed as images of their own.
        return AugmentedImage(plan, config, (), rules)
    merged = _merged(plan.config, config)
    return plan if merged == plan.config else replace(plan, config=merged, rules=(*plan.rules, *rules))


def _for(config: ContainerConfig, architectures: frozenset[str]) -> ContainerConfig:
    """Return a configuration without the layers that are for other architectures."""
    if not architectures:
        return config
    return replace(config, layers=tuple(each for each in config.layers if each.architecture in (None, *architectures)))


def _merged(own: ContainerConfig, more: ContainerConfig) -> ContainerConfig:
    """Return what a request sets with what is added: a layer that is there already is not added again."""
    there = {layer.digest for layer in own.layers}
    return ContainerConfig(
        more.entrypoint or own.entrypoint,
        own.cmd,
        tuple(merge_env([*own.env, *more.env])),
        own.working_dir,
        (*own.layers, *(layer for layer in more.layers if layer.digest not in there)),
        tuple(sorted({**dict(own.labels), **dict(more.labels)}.items())),
    )
