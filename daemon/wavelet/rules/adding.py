"""Packs, environment and labels put into a plan: on its image, or below what only says where that goes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavelet.kinds.augment.node import AugmentedImage
from wavelet.packs.combined import combined, joined
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
    found = combined(addition.packs, packs, architectures_of(plan))
    there = {layer.digest for layer in layers(plan)}
    # What a request has added itself, by the pack's own document, is not added again.
    new = [
        pack for pack in found.packs if not pack.layers or any(each.layer.digest not in there for each in pack.layers)
    ]
    config = found.config
    if len(new) < len(found.packs):
        config = joined([pack.config for pack in new])
    config = replace(
        joined([config, ContainerConfig(env=addition.env)]), labels=tuple(sorted(dict(addition.labels).items()))
    )
    return Added(_on(plan, config, rules), found.packs, found.notes)


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
    config = _for(config, architectures_of(plan))
    own = plan.configuration
    if own is None:
        return AugmentedImage(plan, config, (), rules) if config else plan
    both = joined([own, config])
    both = replace(both, labels=tuple(sorted(both.labels)))
    return plan if both == own else plan.reconfigured(both, rules)


def _for(config: ContainerConfig, architectures: frozenset[str]) -> ContainerConfig:
    """Return a configuration without the layers that are for other architectures."""
    if not architectures:
        return config
    return replace(config, layers=tuple(each for each in config.layers if each.architecture in (None, *architectures)))
