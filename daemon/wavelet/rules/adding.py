"""Packs, environment and labels put into a plan: on its image, or below what only says where that goes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavelet.image.image import merge_env
from wavelet.kinds.augment.node import AugmentedImage
from wavelet.packs.combined import Combined, combined, joined
from wavelet.packs.model import Pack, Packs, PackUse
from wavelet.plan.node import Additions, ContainerConfig, Node, layers, walk


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
    notes: tuple[str, ...] = ()


def add(plan: Node, addition: Addition, packs: Packs, rules: tuple[str, ...]) -> Added:
    """Return a plan with an addition; `rules` are those of the site that want it.

    Raises:
        PackRefused: a pack cannot be used, is not for the image's architecture, or collides with another one.
    """
    found = _combined(plan, addition.packs, packs) if addition.packs else Combined(ContainerConfig())
    config = replace(
        found.config,
        env=tuple(merge_env([*found.config.env, *addition.env])),
        labels=tuple(sorted(dict(addition.labels).items())),
    )
    return Added(_on(plan, config, rules), found.packs, found.notes)


def _combined(plan: Node, uses: tuple[PackUse, ...], packs: Packs) -> Combined:
    """Return what packs add to a plan, without those that are in it already by their own documents."""
    found = combined(uses, packs, architectures_of(plan))
    there = {layer.digest for layer in layers(plan)}
    new = [
        pack for pack in found.packs if not pack.layers or any(each.layer.digest not in there for each in pack.layers)
    ]
    return found if len(new) == len(found.packs) else replace(found, config=joined([pack.config for pack in new]))


def architectures_of(plan: Node) -> frozenset[str]:
    """Return for which architectures a plan is; empty: it names none, and is for whatever there is."""
    platforms = {platform for node in walk(plan) for platform in node.description.platforms}
    return frozenset(each.architecture for each in platforms)


def _on(plan: Node, config: ContainerConfig, rules: tuple[str, ...]) -> Node | None:
    """Return a plan with a configuration added; None where nothing can be."""
    if plan.additions is Additions.NOWHERE:
        return None
    if plan.additions is Additions.BELOW:
        children = [_on(child, config, rules) for child in plan.children]
        return None if None in children else plan.with_children([each for each in children if each is not None])
    config = _for(config, plan)
    own = plan.configuration
    if own is None:
        return AugmentedImage(plan, config, (), rules) if config else plan
    both = joined([own, config])
    return plan if both == own else plan.reconfigured(both, rules)


def _for(config: ContainerConfig, plan: Node) -> ContainerConfig:
    """Return a configuration without the layers that are for other architectures than a plan."""
    if all(each.architecture is None for each in config.layers):
        return config
    wanted = architectures_of(plan)
    there = tuple(each for each in config.layers if not wanted or each.architecture in (None, *wanted))
    return replace(config, layers=there)
