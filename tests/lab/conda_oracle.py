"""What rattler makes of packages, to compare with the layers of an image: entries, contents, links, modes and times.

rattler runs in a process of its own. What it leaves behind of itself (conda-meta, `__clobbers__`, CACHEDIR.TAG) is left
out; modes are compared as images have them: directories and programs 0755, other files 0644.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import stat
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lab.processes import run

PREFIX = "/opt/conda"
RATTLER_SECONDS = 300

_SMALL = 10_000
"""Entry points are smaller, in bytes."""

_OWN = re.compile(r"(conda-meta|__clobbers__|CACHEDIR\.TAG|\.cache|pkgs)(/|$)")

_PROGRAM = Path(__file__).parent / "conda_rattler.py"

VIRTUAL = (("__unix", "0", "0"), ("__linux", "5.10", "0"), ("__glibc", "2.36", "0"), ("__archspec", "1", "x86_64"))
"""The virtual packages of the lab's target."""


@dataclass(frozen=True)
class Entry:
    """A path's content.

    Attributes:
        kind: `file`, `link` or `directory`.
        what: a file's sha256, a link's target, empty for a directory.
        mode: permissions; of links always 0755.
        mtime: in whole seconds, None where it is not compared.
        loose: sha256 of a file without its blanks.
    """

    kind: str
    what: str = ""
    mode: int = 0o755
    mtime: int | None = None
    loose: str = field(default="", compare=False)


Tree = dict[str, Entry]
"""Paths relative to the prefix."""


def ask_rattler(job: dict[str, Any]) -> Any:
    """Return what rattler answers; a LabError with all that it printed if it fails."""
    return json.loads(run([sys.executable, _PROGRAM], text=json.dumps(job), seconds=RATTLER_SECONDS).stdout)


def solve(
    channels: Sequence[str | Path],
    specs: Sequence[str],
    *,
    platform: str = "linux-64",
    virtual: Sequence[tuple[str, str, str]] = VIRTUAL,
    as_of: str | None = None,
) -> list[str]:
    """Return the URLs of the packages that rattler chooses, sorted; a LabError with its explanation if it cannot."""
    places = [place.as_uri() if isinstance(place, Path) else place for place in channels]
    job = {
        "do": "solve",
        "channels": places,
        "specs": list(specs),
        "platform": platform,
        "virtual": list(virtual),
        "as_of": as_of,
    }
    found: list[str] = ask_rattler(job)
    return found


def install(archives: Iterable[Path], directory: Path, *, prefix: str = PREFIX, platform: str = "linux-64") -> Path:
    """Install package archives by rattler into `directory`/prefix, patched for `prefix`; return that directory.

    Nothing is solved: these packages and no others, a noarch Python package only together with a `python`.
    """
    return install_each({"prefix": archives}, directory, prefix=prefix, platform=platform)["prefix"]


def install_each(
    sets: Mapping[str, Iterable[Path]], directory: Path, *, prefix: str = PREFIX, platform: str = "linux-64"
) -> dict[str, Path]:
    """Install several sets of archives, each into a directory of its own (`directory`/name), by one process."""
    directory.mkdir(parents=True, exist_ok=True)
    found = {name: directory / name for name in sets}
    paths = {str(found[name]): [str(path) for path in archives] for name, archives in sets.items()}
    cache = str(directory / "cache of rattler")
    ask_rattler({"do": "install", "archives": paths, "cache": cache, "prefix": prefix, "platform": platform})
    return found


def archives(channel: Path, urls: Iterable[str]) -> list[Path]:
    """Return where packages of a channel's URLs are in its directory."""
    return [channel / "/".join(url.rsplit("/", 2)[1:]) for url in urls]


def tree_of(installed: Path, package: str = "") -> Tree:
    """Return what rattler has installed: all of it, or the files of one package and the directories above them."""
    generated = _entry_points(installed)
    wanted = {name for document in _records(installed, package) for name in document["files"]}
    above = {str(parent) for name in wanted for parent in PurePosixPath(name).parents}
    tree: Tree = {}
    for path in sorted(installed.rglob("*")):
        name = path.relative_to(installed).as_posix()
        if _OWN.match(name) or (package and name not in wanted | above):
            continue
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            tree[name] = Entry("link", str(path.readlink()))
        elif stat.S_ISDIR(found.st_mode):
            tree[name] = Entry("directory")
        else:
            mtime = None if name in generated else int(found.st_mtime)
            tree[name] = _file(path.read_bytes(), 0o755 if found.st_mode & 0o111 else 0o644, mtime)
    return tree


def tree_of_layers(layers: Iterable[bytes | Path], prefix: str = PREFIX) -> Tree:
    """Return what layers (tars, or gzip'd tars) are under `prefix` when put upon each other by the rules of overlays.

    A path replaces what was there, with all that was under it unless both are directories; `.wh.` names are whiteouts.
    """
    tree: Tree = {}
    for layer in layers:
        _apply(tree, layer)
    root = prefix.strip("/") + "/"
    under = {name.removeprefix(root): entry for name, entry in tree.items() if name.startswith(root)}
    return {name: entry for name, entry in under.items() if not _OWN.match(name)}


def differences(expected: Tree, found: Tree, *, allowed: str = r"(?!)", times: bool = True) -> list[str]:
    """Return one line for each path at which the trees differ, but those that match the regular expression `allowed`.

    Programs that rattler generates (entry points) are compared without their times and their kind of indentation.
    """
    lines = []
    for name in sorted(expected.keys() | found.keys()):
        wanted, given = expected.get(name), found.get(name)
        if re.search(allowed, name):
            continue
        if wanted is None or given is None:
            lines.append(f"{name}: {'only in the image' if wanted is None else 'missing in the image'}")
            continue
        if wanted.kind == "file" and wanted.mtime is None and given.kind == "file":
            given = replace(given, mtime=None, what=wanted.what if wanted.loose == given.loose else given.what)
        if not times or wanted.kind != "file":
            wanted, given = replace(wanted, mtime=None), replace(given, mtime=None)
        if wanted != given:
            lines.append(f"{name}: {wanted} by rattler, {given} in the image")
    return lines


def _entry_points(installed: Path) -> set[str]:
    return {
        line["_path"]
        for document in _records(installed)
        for line in document.get("paths_data", {}).get("paths", [])
        if line.get("path_type") in ("unix_python_entry_point", "windows_python_entry_point_script")
    }


def _records(installed: Path, package: str = "") -> list[dict[str, Any]]:
    found = [json.loads(path.read_bytes()) for path in sorted((installed / "conda-meta").glob("*.json"))]
    return [document for document in found if package in ("", document["name"])]


def _apply(tree: Tree, layer: bytes | Path) -> None:
    raw = layer.read_bytes() if isinstance(layer, Path) else layer
    raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            parent, _, last = name.rpartition("/")
            if last == ".wh..wh..opq":
                _remove_under(tree, parent)
            elif last.startswith(".wh."):
                _remove(tree, f"{parent}/{last.removeprefix('.wh.')}".lstrip("/"))
            elif name:
                entry = _entry(tar, member, tree)
                if entry.kind != "directory" or (name in tree and tree[name].kind != "directory"):
                    _remove(tree, name)
                _put_parents(tree, name)
                tree[name] = entry


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree) -> Entry:
    if member.isdir():
        return Entry("directory", mode=member.mode)
    if member.issym():
        return Entry("link", member.linkname)
    if member.islnk():
        return tree[member.linkname.removeprefix("./")]
    stream = tar.extractfile(member)
    assert stream is not None, f"{member.name}: neither a file, a directory nor a link"
    return _file(stream.read(), member.mode, int(member.mtime))


def _file(content: bytes, mode: int, mtime: int | None) -> Entry:
    loose = hashlib.sha256(b"".join(content.split())).hexdigest() if len(content) < _SMALL else ""
    return Entry("file", hashlib.sha256(content).hexdigest(), mode, mtime, loose)


def _put_parents(tree: Tree, name: str) -> None:
    for parent in PurePosixPath(name).parents:
        where = str(parent)
        if where != "." and tree.get(where, Entry("none")).kind != "directory":
            tree[where] = Entry("directory")


def _remove(tree: Tree, name: str) -> None:
    tree.pop(name, None)
    _remove_under(tree, name)


def _remove_under(tree: Tree, name: str) -> None:
    for path in [path for path in tree if path.startswith(f"{name}/")]:
        del tree[path]
