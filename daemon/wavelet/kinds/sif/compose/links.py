"""Hard links: which names are the same file, also across layers, and how many names of it show.

An inode says how many names it has, and is written at the first. So where a segment has hard links at all, its entries
are read once more before the merge, and the names counted that show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from wavelet.archive.layer_names import FOLLOWED
from wavelet.errors import UpstreamBroken
from wavelet.kinds.sif.compose.merge import merge
from wavelet.kinds.sif.compose.overlay import settle
from wavelet.kinds.sif.segments.index import Entry, Header

Layers = Callable[[], AbstractContextManager[Sequence[Iterable[Entry]]]]
"""Opens all layers, to be read once."""


class Links:
    """The files of an image that have several names."""

    def __init__(self, headers: Sequence[Header], layers: Layers) -> None:
        """Count the names; reads `layers` where there is anything to be found.

        Raises:
            UpstreamBroken: a link to what is not there.
        """
        self._resolved: Mapping[tuple[int, bytes], tuple[int, Entry]] = {}
        self._outside: set[tuple[int, bytes]] = set()
        self._names: Counter[Hashable] = Counter()
        if any(header.links or header.targets for header in headers):
            self._count(headers, layers)

    def __bool__(self) -> bool:
        return bool(self._names)

    def followed(self, layer: int, entry: Entry) -> tuple[int, Entry]:
        """Return the layer and entry whose attributes and data these are: of a link, what it leads to."""
        return self._resolved[layer, entry.path] if entry.kind == "link" else (layer, entry)

    def identity(self, layer: int, entry: Entry) -> Hashable:
        """Return what all names of a file have in common; None for what has one name alone. Not of a link."""
        if entry.inode:
            return layer, entry.inode
        return (layer, entry.path) if (layer, entry.path) in self._outside else None

    def names(self, identity: Hashable) -> int:
        """Return how many names of it show."""
        return self._names[identity]

    def _count(self, headers: Sequence[Header], layers: Layers) -> None:
        links: list[tuple[int, Entry]] = []
        with layers() as opened:
            for layer, entry in merge(opened):
                if entry.kind == "link":
                    links.append((layer, entry))
                elif entry.inode:
                    self._names[layer, entry.inode] += 1
        if not links:
            return
        lower = _LowerLayers(layers, {target for header in headers for target in header.targets})
        self._resolved = lower.find_all(links)
        self._outside = {(layer, entry.path) for layer, entry in self._resolved.values() if not entry.inode}
        self._names.update(self.identity(*target) for target in self._resolved.values())
        with layers() as opened:
            self._names.update(
                (layer, entry.path) for layer, entry in merge(opened) if (layer, entry.path) in self._outside
            )


class _LowerLayers:
    """What layers have at the targets of links from above, and on the way to them."""

    def __init__(self, layers: Layers, targets: set[bytes]) -> None:
        self._layers = layers
        self._wanted: set[bytes] = set()
        self._found: dict[bytes, list[tuple[int, Entry]]] = {}
        self._read(targets)

    def find_all(self, links: Iterable[tuple[int, Entry]]) -> dict[tuple[int, bytes], tuple[int, Entry]]:
        """Return what links lead to in the layers under theirs, by their layer and path.

        Raises:
            UpstreamBroken: to nothing, or to a directory.
        """
        resolved: dict[tuple[int, bytes], tuple[int, Entry]] = {}
        waiting = list(links)
        for _ in range(FOLLOWED):
            unknown: set[bytes] = set()
            later: list[tuple[int, Entry]] = []
            for layer, entry in waiting:
                try:
                    found = self._find(entry.target, layer)
                except _Unread as unread:
                    unknown.add(unread.path)
                    later.append((layer, entry))
                    continue
                if found is None:
                    raise UpstreamBroken(_broken(layer, entry))
                resolved[layer, entry.path] = found
            if not unknown:
                return resolved
            self._read(unknown)
            waiting = later
        raise UpstreamBroken(_broken(*waiting[0]))

    def _find(self, path: bytes, below: int) -> tuple[int, Entry] | None:
        """Return what shows at `path` of the layers under `below`, if anything.

        Raises:
            _Unread: a path has to be read first.
        """
        for _ in range(FOLLOWED):
            if path not in self._wanted:
                raise _Unread(path)
            found = self._walk(path, below)
            if isinstance(found, bytes):
                path = found
            elif found is not None and found[1].kind == "link":
                below, path = found[0], found[1].target
            else:
                return found
        return None

    def _walk(self, path: bytes, below: int) -> tuple[int, Entry] | bytes | None:
        """Return what shows there, if it is no directory; or where a symbolic link on the way leads."""
        floor = 0
        for end in _ends(path):
            group = [each for each in self._found.get(path[:end], ()) if floor <= each[0] < below]
            shown = settle(group, floor) if group else None
            if shown is None:
                if end:
                    return None
                continue  # no layer says anything of the root
            if end < len(path) and (leads_to := self._leads_to(shown.layer, shown.entry)) is not None:
                return _led(path[:end], leads_to, path[end + 1 :])
            if shown.entry.kind != "directory":
                return (shown.layer, shown.entry) if end == len(path) else None
            floor = shown.floor
        return None

    def _leads_to(self, layer: int, entry: Entry) -> bytes | None:
        """Return the target of a symbolic link, also where that is a hard link to one; None: it is something else."""
        found = self._find(entry.target, layer) if entry.kind == "link" else (layer, entry)
        return found[1].target if found is not None and found[1].kind == "symlink" else None

    def _read(self, targets: set[bytes]) -> None:
        """Read all layers once, for these paths and the directories on the way to them."""
        new = {target[:end] for target in targets for end in _ends(target)} - self._found.keys()
        self._wanted |= targets
        if not new:
            return
        with self._layers() as layers:
            for number in range(len(layers) - 1, -1, -1):
                for entry in layers[number]:
                    if entry.path in new:
                        self._found.setdefault(entry.path, []).append((number, entry))


class _Unread(Exception):
    """A path that nothing is known of yet."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path


def _ends(path: bytes) -> Iterator[int]:
    """Yield where the components of a path end, the root first."""
    yield 0
    end = path.find(b"/")
    while end >= 0:
        yield end
        end = path.find(b"/", end + 1)
    if path:
        yield len(path)


def _led(link: bytes, target: bytes, rest: bytes) -> bytes:
    """Return the path that `link/rest` is, never out of the root."""
    base = [] if target.startswith(b"/") else link.split(b"/")[:-1]
    for part in [*target.split(b"/"), *rest.split(b"/")]:
        if part == b"..":
            del base[-1:]
        elif part not in (b"", b"."):
            base.append(part)
    return b"/".join(base)


def _broken(layer: int, entry: Entry) -> str:
    name, target = (each.decode(errors="backslashreplace") for each in (entry.path, entry.target))
    return (
        f"the image's layer {layer + 1} has {name!r} as a hard link to {target!r}, which is no file of the layers below"
    )
