"""What shows at a path where several layers have something: the rule of overlay file systems, as pure policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wavelet.kinds.sif.segments.index import Entry

NOTHING = 1 << 32
"""A floor that is above all layers: nothing of what is below shows."""

IMPLIED_MODE = 0o755
"""Of a directory that no layer has an entry of: it is root's, and of the time 0."""


class Shown(NamedTuple):
    """What shows at a path.

    Attributes:
        layer: whose entry it is; layers are numbered from the lowest.
        entry: itself.
        floor: of what is below the path, entries of layers under this one do not show.
    """

    layer: int
    entry: Entry
    floor: int


def settle(group: Sequence[tuple[int, Entry]], floor: int) -> Shown | None:
    """Return what shows at a path, if anything.

    The topmost entry stands. Directories that lie directly upon each other are one: it has the attributes of the
    topmost that is not implied, and what is in them down to the first that is opaque. An implied directory takes the
    attributes of a lower one also where it is opaque: that hides what is in the lower one, not what it is.

    Args:
        group: layers and their entries of this path, the topmost first, at least one, none under the floor.
        floor: that of the directory it is in.
    """
    layer, top = group[0]
    if top.kind == "whiteout":
        return None
    if top.kind != "directory":
        return Shown(layer, top, NOTHING)
    shown: tuple[int, Entry] | None = None
    is_open = True
    for each, entry in group:
        if entry.kind != "directory":
            floor = each + 1 if is_open else floor
            break
        if not entry.implied:
            shown = shown or (each, entry)
        if is_open and entry.opaque:
            floor, is_open = each, False
        if shown is not None and not is_open:
            break
    if shown is None:
        shown = layer, Entry(top.path, "directory", IMPLIED_MODE)
    return Shown(*shown, floor)
