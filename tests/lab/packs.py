"""Packs as values, without directories."""

from __future__ import annotations

from collections.abc import Iterable

from wavelet.image.reference import Digest
from wavelet.packs.model import LOCATION, Pack, PackLayer, PackRefused
from wavelet.plan.node import Layer
from wavelet.rules.model import RuleSet
from wavelet.rules.site_rules import SiteRules


class KnownPacks:
    """The packs of a node, of which a test says what they are."""

    def __init__(self, packs: Iterable[Pack] = ()) -> None:
        """Know these packs."""
        self.packs = list(packs)

    def get(self, name: str, version: str | None = None) -> Pack:
        """See `Packs`."""
        for pack in self.packs:
            if pack.name == name and version in (None, pack.version):
                return pack
        raise PackRefused(f"there is no pack {name}", field="packs")


def pack(
    name: str, version: str = "1", *paths: str, architectures: Iterable[str] = (), entrypoint: tuple[str, ...] = ()
) -> Pack:
    """Return a pack with one layer (for each architecture), whose digest is of its name."""
    layers = tuple(
        PackLayer(
            Layer(
                Digest.of(f"{name}{version}{each}".encode()),
                10,
                Digest.of(f"tar {name}{version}{each}".encode()),
                f"{LOCATION}{name}@{version}/0.tar.gz",
                each,
            ),
            frozenset(paths),
        )
        for each in (list(architectures) or [None])
    )
    env = (f"{name.upper()}={version}",)
    return Pack(name, version, entrypoint, env, layers, frozenset(architectures))


NO_RULES = SiteRules(RuleSet, KnownPacks())
"""A site without any."""
