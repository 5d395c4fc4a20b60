"""Members of added layers that give way to what the image has already: `keep: existing` of packs. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wavelet.kinds.augment.marks import Marks


@dataclass(frozen=True, slots=True)
class Kept:
    """What becomes of a layer: paths that are left out, who gets the contents of those (`Changes.heirs`), is it empty.

    A directory that the image has keeps its mode; where nothing but directories would be left, the layer is empty.
    """

    omitted: frozenset[str] = frozenset()
    heirs: tuple[tuple[str, str], ...] = ()
    is_empty: bool = False


def kept(marks: Marks, existing: Collection[str]) -> Kept:
    """Return what becomes of a layer on an image that has something at the paths `existing`."""
    omitted = (marks.kept | marks.kept_directories).intersection(existing)
    left = marks.kept - omitted
    return Kept(omitted, tuple(sorted(_heirs(marks, omitted).items())), not left and not marks.has_others)


def _heirs(marks: Marks, omitted: frozenset[str]) -> dict[str, str]:
    """Return for each omitted path of a file with several names the first of those names that stays."""
    names: dict[str, list[str]] = {}
    for link, file in marks.hard_links:
        names.setdefault(file, []).append(link)
    heirs: dict[str, str] = {}
    for file in omitted & names.keys():
        staying = [name for name in names[file] if name not in omitted]
        if staying:
            heirs |= {name: staying[0] for name in (file, *names[file]) if name in omitted}
    return heirs
