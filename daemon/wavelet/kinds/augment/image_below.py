"""What the image below has at some paths: found in its layers from the top down, whiteouts and links heeded.

A layer is read as a stream, in a worker, and only what was asked for is remembered of it. Where a link leads to a path
that nobody has asked for yet, the layers are read once more, in a bounded number of rounds.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from wavelet.archive.tar_reader import Member
from wavelet.image.image import Content
from wavelet.kinds.augment.layer_members import OPAQUE, PATH_LIMIT, WHITEOUT, members, read_layer, relative
from wavelet.kinds.kind import Work

ROUNDS = 6
"""How often the layers of an image are read at most; what is not found by then counts as not there."""

LINKS = 40
"""Symbolic links that are followed on the way to one file, as the kernel does (path_resolution(7))."""

MATCHES = 64
"""Paths with one of the endings that are looked for which one layer is heeded for, and the whole image."""

DIRECTORIES_LIMIT = 256
"""Directories on the way to a path that is found by its ending."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a layer has at a path.

    Attributes:
        size: bytes, of a file.
        link: the target of a symbolic link, as it is; empty where it is none.
        stored_at: the path of the member that has the contents, for a file and for a hard link.
    """

    is_directory: bool = False
    is_file: bool = False
    size: int = 0
    link: str = ""
    stored_at: str = ""


DIRECTORY = Entry(is_directory=True)


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What a layer says of the paths that were asked for: what it has, takes away, and has without what is below."""

    entries: Mapping[str, Entry]
    hidden: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """Something in the image: its path without links, the layer (from the top, 0 first), and what that has there."""

    path: str
    layer: int
    entry: Entry


class Unasked(Exception):
    """A path has to be asked for, or a layer further down read, before something can be said."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def closure(paths: Iterable[str]) -> frozenset[str]:
    """Return paths and all directories that they are in."""
    asked: set[str] = set()
    for path in paths:
        at = path
        while at and at not in asked and len(at) <= PATH_LIMIT:
            asked.add(at)
            at = posixpath.dirname(at)
    return frozenset(asked)


def part_of(layer: Path, name: str, asked: frozenset[str], endings: tuple[str, ...] = ()) -> LayerPart:
    """Return what a layer says of the paths in `asked`, and what it has whose path has one of these endings. Blocks.

    Raises:
        UpstreamBroken: it cannot be read.
    """
    seen = _Seen(asked, endings)
    for member in members(layer, name):
        seen.add(member)
    return LayerPart(seen.entries, frozenset(seen.hidden), frozenset(seen.opaque))


@dataclass(slots=True)
class _Seen:
    asked: frozenset[str]
    endings: tuple[str, ...]
    entries: dict[str, Entry] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    matches: int = 0
    last_directory: str = ""

    def add(self, member: Member) -> None:
        path = relative(member.path)
        directory, _, last = path.rpartition("/")
        if directory != self.last_directory:
            self.last_directory = directory
            self._imply(directory)
        if last == OPAQUE:
            self.opaque.update({directory} & (self.asked | {""}))
        elif last.startswith(WHITEOUT):
            self.hidden.update({f"{directory}/{last.removeprefix(WHITEOUT)}".lstrip("/")} & self.asked)
        elif path in self.asked or self._matches(path, member):
            self.entries[path] = _entry(path, member)

    def _imply(self, directory: str) -> None:
        # From the root on: above what is asked for all is, so that a deep path costs no more than what is known of it.
        end = 0
        while directory and end >= 0:
            end = directory.find("/", end + 1)
            above = directory if end < 0 else directory[:end]
            if above not in self.asked:
                return
            self.entries.setdefault(above, DIRECTORY)

    def _matches(self, path: str, member: Member) -> bool:
        if not self.endings or member.is_directory or not f"/{path}".endswith(self.endings):
            return False
        if len(path) > PATH_LIMIT or path.count("/") > DIRECTORIES_LIMIT:
            return False
        self.matches += 1
        return self.matches <= MATCHES


def _entry(path: str, member: Member) -> Entry:
    if member.is_directory:
        return DIRECTORY
    if member.is_symlink:
        return Entry(link=member.target[:PATH_LIMIT] or ".")
    if member.is_hard_link:
        return Entry(is_file=len(member.target) <= PATH_LIMIT, stored_at=relative(member.target[:PATH_LIMIT]))
    return Entry(is_file=member.is_file, size=member.size, stored_at=path)


def find(
    parts: Sequence[LayerPart], asked: frozenset[str], path: str, *, follow: bool = True, complete: bool = True
) -> Found | None:
    """Return what an image has at a path, or nothing. Pure.

    Args:
        parts: what its layers say of `asked`, the top one first; where not `complete`, there are more below.
        follow: whether a symbolic link at the path itself is followed too.

    Raises:
        Unasked: `parts` do not tell.
    """
    for _ in range(LINKS):
        if len(path) > PATH_LIMIT:
            return None
        found = _walk(parts, asked, path, follow=follow, complete=complete)
        if not isinstance(found, str):
            return found
        path = found
    return None


def _walk(
    parts: Sequence[LayerPart], asked: frozenset[str], path: str, *, follow: bool, complete: bool
) -> Found | str | None:
    """Return what is at a path, or the path instead where there is a link on the way."""
    names = path.split("/")
    at, floor = "", _floor(parts)
    for number, name in enumerate(names, 1):
        at = f"{at}/{name}" if at else name
        if at not in asked:
            raise Unasked(path)
        top, floor, is_cut = _look(parts, at, floor)
        if top is None:
            if not is_cut and not complete:
                raise Unasked(path)
            return None
        entry = parts[top].entries[at]
        is_last = number == len(names)
        if entry.link and (follow or not is_last):
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(at), entry.link, *names[number:]))
            return target.strip("/") or None
        if is_last:
            return Found(at, top, entry)
        if not entry.is_directory:
            return None
    return None


def _floor(parts: Sequence[LayerPart]) -> int:
    """Return how many layers show at the root."""
    return next((number for number, part in enumerate(parts, 1) if "" in part.opaque), len(parts))


def _look(parts: Sequence[LayerPart], path: str, floor: int) -> tuple[int | None, int, bool]:
    """Return the topmost layer that has a path, how many layers show below it, and whether more cannot change that."""
    top: int | None = None
    for number in range(floor):
        entry = parts[number].entries.get(path)
        if entry is not None and not entry.is_directory:
            return (number, number + 1, True) if top is None else (top, number, True)
        if entry is not None and top is None:
            top = number
        if path in parts[number].hidden or path in parts[number].opaque:
            return top, number + 1, True
    return top, floor, floor < len(parts)


async def search(
    layers: Sequence[Content],
    work: Work,
    paths: Iterable[str],
    *,
    follow: bool = True,
    endings: tuple[str, ...] = (),
    likely: Iterable[str] = (),
) -> dict[str, Found]:
    """Return what an image has at paths, by path; it is not in there where the image has nothing.

    Args:
        layers: of the image, the lowest first.
        follow: whether symbolic links at the paths themselves are followed too.
        endings: of more paths to look for, wherever they are (`/lib/x`).
        likely: paths where links may lead, so that the layers are read once.

    Raises:
        UpstreamBroken: a layer cannot be read.
    """
    wanted = set(paths)
    asked = closure({*wanted, *likely})
    found: dict[str, Found] = {}
    for _ in range(ROUNDS):
        parts: list[LayerPart] = []
        for number, content in enumerate(reversed(layers), 1):
            parts.append(await read_layer(work, content, part_of, asked, endings))
            is_all = number == len(layers)
            if not endings and not is_all and not _judge(parts, asked, wanted, follow=follow, complete=False)[1]:
                break
        if endings:
            matched = (path for part in parts for path in part.entries if f"/{path}".endswith(endings))
            wanted |= set(islice(dict.fromkeys(matched), MATCHES))
        complete = len(parts) == len(layers)
        found, unasked = _judge(parts, asked, wanted, follow=follow, complete=complete)
        if not unasked:
            break
        asked |= closure(unasked)
        endings = ()
    return found


def _judge(
    parts: Sequence[LayerPart], asked: frozenset[str], wanted: Iterable[str], *, follow: bool, complete: bool
) -> tuple[dict[str, Found], set[str]]:
    found: dict[str, Found] = {}
    unasked: set[str] = set()
    for path in wanted:
        try:
            one = find(parts, asked, path, follow=follow, complete=complete)
        except Unasked as more:
            unasked.add(more.path)
            continue
        if one is not None:
            found[path] = one
    return found, unasked
