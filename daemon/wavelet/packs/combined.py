"""Several packs as one configuration: each once, and none in the way of another. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wavelet.image.image import merge_env
from wavelet.packs.model import Pack, PackRefused
from wavelet.plan.node import ContainerConfig


def combined(packs: Sequence[Pack]) -> ContainerConfig:
    """Return what packs add together, the lowest first.

    Raises:
        PackRefused: two of them put the same path into the image, or are versions of one pack.
    """
    owners: dict[str, Pack] = {}
    for pack in dict.fromkeys(packs):
        for other in packs:
            if other.name == pack.name and other.version != pack.version:
                raise PackRefused(f"packs: {pack.reference} and {other.reference} are both asked for", field="packs")
        for path in {path for layer in pack.layers for path in layer.paths}:
            if owners.setdefault(path, pack) is not pack:
                raise PackRefused(
                    f"packs: {owners[path].reference} and {pack.reference} both have /{path}; take one of them",
                    field="packs",
                )
    each = list(dict.fromkeys(packs))
    entrypoints = [pack.entrypoint for pack in each if pack.entrypoint]
    return ContainerConfig(
        entrypoints[-1] if entrypoints else (),
        env=tuple(merge_env(*(pack.env for pack in each))),
        layers=tuple(layer.layer for pack in each for layer in pack.layers),
    )
