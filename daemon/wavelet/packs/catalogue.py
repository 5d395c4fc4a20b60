"""The packs that are known on this node: what each name means now, what it meant before, and what is wrong. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from wavelet.image.reference import Digest
from wavelet.packs.kept import KeptPack
from wavelet.packs.locations import file_of
from wavelet.packs.model import Pack, PackRefused
from wavelet.plan.node import Layer


@dataclass(frozen=True, slots=True)
class ListedPack:
    """A pack as it is shown.

    Attributes:
        pack: None: none could be built of it yet.
        directory: what it is made of; of a version that is no longer there, what it was made of.
        shipped: whether it came with wavelet.
        problem: why what is in the directory now is not in use; empty: it is, or nothing is wrong with it.
        unused: what has to be done before it is in use, where nothing is wrong with it; empty: it is in use.
    """

    name: str
    pack: Pack | None
    directory: str
    shipped: bool
    problem: str = ""
    unused: str = ""


class Catalogue:
    """See the module.

    Attributes:
        kept: built packs; of equal names, those of now before those of earlier.
        problems: by name, of what is in directories now and not in use, whether something is wrong with it or not.
    """

    def __init__(self) -> None:
        self.kept: tuple[KeptPack, ...] = ()
        self.problems: dict[str, ListedPack] = {}
        self._layers: dict[tuple[str, str], Layer] = {}
        self._sizes: dict[Digest, int] = {}

    def take(self, kept: Iterable[KeptPack]) -> None:
        """Know these, and no others."""
        self.kept = tuple(sorted(kept, key=_order))
        layers = [(each.pack.reference, layer.layer) for each in reversed(self.kept) for layer in each.pack.layers]
        self._layers = {(reference, file_of(layer)): layer for reference, layer in layers}
        self._sizes = {layer.digest: layer.size for _, layer in layers if layer.size is not None}

    def current(self, name: str) -> KeptPack | None:
        """Return what a name means now."""
        return next((kept for kept in self.kept if kept.left is None and kept.pack.name == name), None)

    def get(self, name: str, version: str | None) -> Pack:
        """See `Packs`."""
        versions = [kept for kept in self.kept if kept.pack.name == name]
        for kept in versions:
            if kept.left is None if version is None else kept.pack.version == version:
                return kept.pack
        broken = self.problems.get(name)
        if version is not None and versions:
            there = ", ".join(dict.fromkeys(kept.pack.version for kept in versions))
            raise PackRefused(f"this node has no version {version[:80]!r} of the pack {name}; it has {there}")
        if broken is not None:
            raise PackRefused(f"the pack {name} cannot be used: {broken.problem or broken.unused}")
        raise PackRefused(f"there is no pack {name[:80]!r} on this node; {self._others(name)}")

    def _others(self, name: str) -> str:
        names = sorted({kept.pack.name for kept in self.kept if kept.left is None})
        near = difflib.get_close_matches(name, names, 1)
        return f"{near[0]} is meant?" if near else f"it has {', '.join(names) or 'none'}"

    def listing(self) -> list[ListedPack]:
        """Return all, also those that cannot be used: sorted by name, of each the newest version first."""
        broken = {name: each.problem for name, each in self.problems.items() if each.problem}
        listed = []
        for kept in self.kept:
            why = broken.pop(kept.pack.name, "")
            listed.append(ListedPack(kept.pack.name, kept.pack, kept.directory, kept.shipped, why))
        left = [each for name, each in self.problems.items() if each.unused or name in broken]
        return sorted([*listed, *left], key=lambda each: each.name)

    def layer(self, reference: str, file: str) -> Layer | None:
        """Return the layer that a version of a pack, `<name>@<version>`, has under the name of a file."""
        return self._layers.get((reference, file))

    def size(self, digest: Digest) -> int | None:
        """Return the bytes of a layer of one of them; None: it is of none."""
        return self._sizes.get(digest)


def _order(kept: KeptPack) -> tuple[str, float]:
    return kept.pack.name, -(float("inf") if kept.left is None else kept.left)
