"""What an engine has to give a container for the packs in its plan. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from wavelet.packs.locations import read_location
from wavelet.packs.model import Needs, Pack, PackPending, PackRefused, Packs
from wavelet.plan.node import Node, layers


def needs_of(packs: Sequence[Pack]) -> Needs:
    """Return what packs need together, each once."""
    return Needs(
        tuple(dict.fromkeys(each for pack in packs for each in pack.needs.devices)),
        tuple(dict.fromkeys(each for pack in packs for each in pack.needs.capabilities)),
    )


def packs_in(plan: Node, packs: Packs) -> list[Pack]:
    """Return the packs whose layers a plan has, in their order, as far as this node knows them by now."""
    found = filter(None, (read_location(layer.location) for layer in layers(plan)))
    known = []
    for reference in dict.fromkeys(each.reference for each in found):
        name, _, version = reference.partition("@")
        with contextlib.suppress(PackRefused, PackPending):
            known.append(packs.get(name, version))
    return known
