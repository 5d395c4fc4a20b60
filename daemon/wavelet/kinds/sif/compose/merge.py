"""The trees of all layers as one, as a stream in the order of the tree: one entry of each layer is held at a time."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence

from wavelet.kinds.sif.compose.overlay import settle
from wavelet.kinds.sif.segments.index import Entry

Merged = tuple[int, Entry]
"""The layer that an entry is of, and so the segment that has its data, with the entry."""


def merge(layers: Sequence[Iterable[Entry]]) -> Iterator[Merged]:
    """Yield what shows of `layers`, the lowest of which is the first; whiteouts do not.

    Each layer's entries are in the order of the tree, one for each path, a directory before what is in it.
    """
    streams = (_keyed(number, layer) for number, layer in enumerate(layers))
    hidden: bytes | None = None
    directories: list[tuple[bytes, int]] = [(b"", 0)]
    for key, rows in itertools.groupby(heapq.merge(*streams), operator.itemgetter(0)):
        if hidden is not None:
            if key.startswith(hidden):
                continue
            hidden = None
        while not key.startswith(directories[-1][0]):
            directories.pop()
        floor = directories[-1][1]
        group = [(-below, entry) for _, below, entry in rows if -below >= floor]
        if not group:
            continue
        if group[0][1].kind == "file":  # what most are; `settle` says the same
            hidden = key + b"\0"
            yield group[0]
            continue
        shown = settle(group, floor)
        if shown is None:
            hidden = key + b"\0"
            continue
        layer, entry, floor = shown
        if entry.kind != "directory":
            hidden = key + b"\0"
        elif key:
            directories.append((key + b"\0", floor))
        else:
            directories[0] = (b"", floor)
        yield layer, entry


def _keyed(number: int, layer: Iterable[Entry]) -> Iterator[tuple[bytes, int, Entry]]:
    lower_last = -number
    for entry in layer:
        yield entry.path.replace(b"/", b"\0"), lower_last, entry


def with_missing(merged: Iterable[Merged], missing: Sequence[Entry], layer: int) -> Iterator[Merged]:
    """Add entries of `missing` where `merged` has nothing at their path.

    What is in a directory that is something else there, a symbolic link for example, is not added.

    Args:
        merged: in the order of the tree.
        missing: in that order too, and small; each directory before what is in it.
        layer: whose they are said to be.
    """
    waiting = [(entry.order, entry) for entry in reversed(missing)]
    for number, entry in merged:
        key = entry.order if waiting else b""
        while waiting and waiting[-1][0] < key:
            yield layer, waiting.pop()[1]
        if waiting and waiting[-1][0] == key:
            waiting.pop()
            if entry.kind != "directory":
                below = key + b"\0"
                while waiting and waiting[-1][0].startswith(below):
                    waiting.pop()
        yield number, entry
    while waiting:
        yield layer, waiting.pop()[1]
