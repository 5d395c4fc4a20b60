"""The difference that scripts have made in a prefix, as a layer: two listings are compared, what differs is written.

Contents count, and whether a file may be executed; times and owners do not. So the engine does not matter, nor does its
way of telling changes. Files that are new get one time for all, that of the newest file there was before.
The functions without an underscore are called in a worker process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import commonpath, dirname

import msgspec

from wavelet.directory_trees import DEPTH_LIMIT, TooDeep
from wavelet.engine.tree import Entry, Tree
from wavelet.errors import ScriptFailed
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.prefix_layer import prefix_layer
from wavelet.kinds.conda.model.packages import PREFIX
from wavelet.kinds.conda.postlink.bioconductor import TABLE

_WHITEOUT = ".wh."
"""What the name of a path that is gone begins with (image-spec layer.md, "Whiteouts")."""

_LEFT_OUT = (".messages.txt", ".wavelet", ".condatmp", "lib/R/library/00LOCK")
"""What paths begin with that are of use to an installer only."""

_ENTRY_ROOM = 4096
"""Bytes of a layer that an entry's header and padding stay under."""


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """One entry: `value` is a file's digest or a link's target."""

    kind: str
    executable: bool = False
    size: int = 0
    value: str = ""


class Before(msgspec.Struct, frozen=True):
    """What is to be known of a prefix before scripts run.

    Attributes:
        newest: time of the newest file, in seconds since the epoch.
        scripts: text of the post-link scripts that there are, by package.
        table: Bioconductor's table of data packages, empty if there is none.
    """

    newest: int
    scripts: Mapping[str, str]
    table: bytes


class Change(msgspec.Struct, frozen=True):
    """What is to be known of a difference before it is written.

    Attributes:
        paths: number of files and links.
        gone: number of paths that are no more; a directory counts once.
        room: bytes that its layer stays under.
        dropped: paths that no layer has: devices, sockets and the like.
        missing: those of the paths asked for that are not there.
    """

    paths: int
    gone: int
    room: int
    dropped: tuple[str, ...]
    missing: tuple[str, ...]


class _Difference(msgspec.Struct, frozen=True):
    changed: set[str]
    whiteouts: list[str]
    directories: set[str]


def script_of(package: str) -> str:
    """Return where a package's post-link script is, relative to the prefix."""
    return f"bin/.{package}-post-link.sh"


def look(tree: Tree, listing: Path, packages: Collection[str]) -> Before:
    """List a tree into a file, and return what is to be known of it and of these packages' scripts."""
    scripts = {script_of(name): name for name in packages}
    texts: dict[str, bytes] = {}
    newest = 0
    entries: dict[str, _Seen] = {}
    for entry in _named(tree):
        content: list[bytes] | None = [] if entry.path in scripts or entry.path == TABLE else None
        entries[entry.path] = _seen(entry, entries, content)
        if entry.is_file:
            newest = max(newest, entry.mtime)
        if content is not None:
            texts[entry.path] = b"".join(content)
    listing.write_bytes(msgspec.msgpack.encode(entries))
    return Before(
        newest,
        {scripts[path]: text.decode("utf-8", "replace") for path, text in texts.items() if path in scripts},
        texts.get(TABLE, b""),
    )


def compare(tree: Tree, listing: Path, result: Path, expected: Collection[str]) -> Change:
    """Compare a tree with its listing from before, into a file; see `Change` for `expected`."""
    before = msgspec.msgpack.decode(listing.read_bytes(), type=dict[str, _Seen])
    after: dict[str, _Seen] = {}
    aliases: dict[str, str] = {}
    for entry in _named(tree):
        after[entry.path] = _seen(entry, after, None)
        if entry.is_hard_link:
            aliases[entry.path] = entry.target
    found = _difference(before, after, aliases)
    result.write_bytes(msgspec.msgpack.encode(found))
    entries = len(found.changed) + len(found.whiteouts) + len(found.directories)
    return Change(
        len(found.changed),
        len(found.whiteouts),
        sum(after[path].size for path in found.changed) + entries * _ENTRY_ROOM + _ENTRY_ROOM,
        tuple(sorted(path for path, seen in after.items() if seen.kind == "other" and path not in before)),
        tuple(sorted(set(expected) - after.keys())),
    )


def write(tree: Tree, result: Path, blob: Path, began: int, newest: int) -> LayerInfo:
    """Write the layer of what `compare` has found.

    Args:
        tree: the same as for `compare`.
        result: its file.
        blob: the layer's.
        began: seconds since the epoch; files with times from then on get `newest`.
        newest: see `Before`.
    """
    found = msgspec.msgpack.decode(result.read_bytes(), type=_Difference)
    files: list[str] = []
    links: dict[str, str] = {}
    with prefix_layer(blob, found.directories) as layer:
        for path in found.whiteouts:
            layer.file(
                str(PurePosixPath(path).with_name(_WHITEOUT + path.rpartition("/")[2])), b"", newest, executable=False
            )
        for entry in _of(tree, found.changed):
            mtime = newest if entry.mtime >= began else entry.mtime
            if entry.is_symlink:
                layer.symlink(entry.path, entry.target, mtime)
                links[entry.path] = entry.target
                continue
            if entry.is_hard_link:
                layer.hard_link(entry.path, entry.target, mtime, executable=entry.executable)
            else:
                layer.stream(entry.path, entry.size, entry.chunks(), mtime, executable=entry.executable)
            files.append(entry.path)
        written = layer.finish()
    return LayerInfo(
        kind="scripts",
        digest=str(written.digest),
        size=written.size,
        diff_id=str(written.diff_id),
        fragment=written.fragment,
        files=tuple(sorted(files)),
        links=dict(sorted(links.items())),
        directories=tuple(sorted(found.directories)),
    )


def _named(tree: Tree) -> Iterator[Entry]:
    """Yield the entries of a tree; what has no name in UTF-8, as layers need it, counts as neither file nor link.

    Raises:
        ScriptFailed: it is deeper than what is taken from others.
    """
    for entry in tree.entries():
        try:
            (entry.path + entry.target).encode()
        except UnicodeEncodeError:
            entry.path = entry.path.encode("utf-8", "backslashreplace").decode()
            entry.is_file = entry.is_symlink = entry.is_hard_link = entry.is_directory = False
        if entry.path.count("/") > DEPTH_LIMIT:
            raise ScriptFailed(f"post-link scripts: in {PREFIX}, {TooDeep(entry.path)}; leave that package out")
        yield entry


def _of(tree: Tree, paths: set[str]) -> Iterator[Entry]:
    """Yield these entries, reading no more of the tree than the directory that has them all."""
    if paths:
        below = commonpath([dirname(path) for path in paths])
        yield from (entry for entry in tree.entries(below) if entry.path in paths)


def _seen(entry: Entry, earlier: Mapping[str, _Seen], content: list[bytes] | None) -> _Seen:
    if entry.is_directory:
        return _Seen("directory")
    if entry.is_symlink:
        return _Seen("link", value=entry.target)
    if entry.is_hard_link:
        return earlier.get(entry.target, _Seen("other"))
    if not entry.is_file:
        return _Seen("other")
    digest = hashlib.sha256()
    for chunk in entry.chunks():
        digest.update(chunk)
        if content is not None:
            content.append(chunk)
    return _Seen("file", entry.executable, entry.size, digest.hexdigest())


def _difference(before: Mapping[str, _Seen], after: Mapping[str, _Seen], aliases: Mapping[str, str]) -> _Difference:
    kept = {path: seen for path, seen in after.items() if not path.startswith(_LEFT_OUT) and seen.kind != "other"}
    different = {path for path, seen in kept.items() if before.get(path) != seen}
    directories = {path for path in different if kept[path].kind == "directory"}
    changed = different - directories
    # The other name of a file is where its contents are.
    changed |= {aliases[path] for path in changed if path in aliases}
    whiteouts = [
        path
        for path in sorted(before.keys() - kept.keys())
        if not path.startswith(_LEFT_OUT) and dirname(path) in kept and kept[dirname(path)].kind == "directory"
    ]
    directories |= {parent for path in (*changed, *whiteouts, *directories) for parent in _parents(path)}
    return _Difference(changed, whiteouts, directories)


def _parents(path: str) -> Iterator[str]:
    while path:
        path = dirname(path)
        yield path
