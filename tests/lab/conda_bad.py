"""Packages that lie, and a channel of them: nothing of these may get into an image."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.conda_channel import make_channel
from lab.conda_index import edit_record
from lab.conda_packages import PLACEHOLDER, Entry, File, Member, Noise, Package, Symlink, text


@dataclass(frozen=True)
class Bad:
    """A package of the bad channel.

    Attributes:
        name: of the package; its version is 1.0.
        path: the archive.
        why: what is wrong: `escape`, `sum`, `broken`, `unlisted` (paths.json does not fit), `link` or `bomb`.
        in_archive: whether the archive itself is bad; else only what the index says of it.
    """

    name: str
    path: Path
    why: str
    in_archive: bool = True


def bad_packages(directory: Path, *, bomb_bytes: int = 0) -> dict[str, Bad]:
    """Make a channel of bad packages in a directory, and return them by name; with a bomb of that size if it is not 0.

    The index has the right checksum of every bad archive, so that only its content can give it away, except where it
    is the index that is wrong.
    """
    made = _escaping() | _linking() | _lying() | (_bomb(bomb_bytes) if bomb_bytes else {})
    made |= {name: (_plain(name), "broken") for name in _BREAKING} | {name: (_plain(name), "sum") for name in _WRONG}
    make_channel(directory, [package for package, _ in made.values()])
    found = {}
    for name, (package, why) in made.items():
        path = directory / package.subdir / package.file_name
        found[name] = Bad(name, path, why, name not in _WRONG)
        if name in _BREAKING:
            path.write_bytes(_BREAKING[name](path.read_bytes()))
            edit_record(directory, path.name, **_sums(path))
        if name in _WRONG:
            edit_record(directory, path.name, **_WRONG[name])
    return found


def _plain(name: str) -> Package:
    return Package(name, files={"share/fine": text("fine\n" * 5000), "share/more": Noise(300_000)})


def _bomb(size: int) -> dict[str, tuple[Package, str]]:
    line = {"_path": "share/bomb", "path_type": "hardlink", "sha256": "0" * 64, "size_in_bytes": 10}
    files: dict[str, Entry] = {"share/bomb": Noise(size, None)}
    return {"bad-bomb": (Package("bad-bomb", files=files, unlisted=frozenset(files), missing=(line,)), "bomb")}


def _escaping() -> dict[str, tuple[Package, str]]:
    """Paths that leave the prefix: by `..`, from the root, through a link of the package itself, or through a name."""
    out = text("escaped\n")
    inside: dict[str, Entry] = {"share/inside": text("inside\n")}
    trees: dict[str, dict[str, Entry]] = {
        "dots": {"../escaped-dots": out},
        "deep-dots": {"share/a/../../../escaped-deep": out},
        "absolute": {"/tmp/escaped-absolute": out},
        "through-link": {"share/door": Symlink("../../.."), "share/door/escaped-through": out},
        "through-absolute-link": {"share/door": Symlink("/tmp"), "share/door/escaped-through-absolute": out},
        "through-chain": {"a": Symlink("."), "a/b": Symlink(".."), "a/b/escaped-chain": out},
        "empty-part": {"share//double": out},
        "dot-part": {"share/./dot": out},
        "whiteout": {"share/.wh.README": text("")},
        "opaque": {"share/.wh..wh..opq": text("")},
        "conda-meta": {"conda-meta/history": text("mine\n")},
    }
    return {f"bad-{name}": (Package(f"bad-{name}", files=inside | tree), "escape") for name, tree in trees.items()}


def _linking() -> dict[str, tuple[Package, str]]:
    """Hard links to what is not in the package, and members that are neither files nor links."""
    trees: dict[str, dict[str, Entry]] = {
        "hardlink-out": {"share/passwd": Member(tarfile.LNKTYPE, "../../../../../../etc/passwd")},
        "hardlink-absolute": {"share/passwd": Member(tarfile.LNKTYPE, "/etc/passwd")},
        "hardlink-nowhere": {"share/nothing": Member(tarfile.LNKTYPE, "share/not-there")},
        "device": {"dev/zero": Member(tarfile.CHRTYPE)},
        "fifo": {"share/fifo": Member(tarfile.FIFOTYPE)},
    }
    return {f"bad-{name}": (Package(f"bad-{name}", files=tree), "link") for name, tree in trees.items()}


def _lying() -> dict[str, tuple[Package, str]]:
    """Documents under `info/` that do not fit the archive, or that are none."""
    point = {"build": "py_0", "subdir": "noarch", "noarch": "python", "depends": ("python",)}
    packages = {
        "missing-file": _claiming("share/gone", None),
        "file-sum": _claiming("share/sum", text("right\n")),
        "path-type": _claiming("share/kind", text("a file\n"), path_type="softlink"),
        "file-mode": _claiming("share/mode", text("m\n"), file_mode="odd", prefix_placeholder=PLACEHOLDER),
        "short-placeholder": _claiming(
            "lib/short", File(b"\0/short/p\0"), file_mode="binary", prefix_placeholder="/short/p", size_in_bytes=10
        ),
        "listed-escape": _claiming("../../escaped-listed", None),
        "paths-json": {"info": {"paths.json": b'{"paths": [{]'}},
        "paths-type": {"info": {"paths.json": b'{"paths": "all", "paths_version": 1}'}},
        "link-json": point | {"info": {"link.json": b"[]"}},
        "entry-point": point | {"entry_points": ("../../escaped-point = os:getcwd",)},
        "entry-code": point | {"entry_points": ("code = os:system('touch /tmp/escaped-code')#",)},
    }
    whys = dict.fromkeys(packages, "unlisted") | dict.fromkeys(("paths-json", "paths-type", "link-json"), "broken")
    whys |= dict.fromkeys(("entry-point", "entry-code", "listed-escape"), "escape")
    return {f"bad-{name}": (Package(f"bad-{name}", **settings), whys[name]) for name, settings in packages.items()}


def _claiming(path: str, entry: Entry | None, **members: object) -> dict[str, Any]:
    """Return settings of a package in whose paths.json a line is false: the checksum, and what `members` say."""
    line = {"_path": path, "path_type": "hardlink", "sha256": "0" * 64, "size_in_bytes": 6} | members
    files = {"share/here": text("here\n")} | ({} if entry is None else {path: entry})
    return {"files": files, "unlisted": frozenset({path}), "missing": (line,)}


def _half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def _flipped(raw: bytes) -> bytes:
    """Turn over a byte in the middle of the files' part, past the headers of zip and zstd."""
    place = raw.index(b"\x28\xb5\x2f\xfd") + 400
    return raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]


def _without(part: str) -> Callable[[bytes], bytes]:
    def without(raw: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
            for name in old.namelist():
                if not name.startswith(part):
                    new.writestr(zipfile.ZipInfo(name), old.read(name))
        return out.getvalue()

    return without


_BREAKING: dict[str, Callable[[bytes], bytes]] = {
    "bad-truncated": _half,
    "bad-zstd": _flipped,
    "bad-no-pkg": _without("pkg-"),
    "bad-no-info": _without("info-"),
    "bad-empty-file": lambda _: b"",
    "bad-not-zip": lambda _: b"<html>502 Bad Gateway</html>\n" * 40,
}


_WRONG: dict[str, dict[str, object]] = {
    "wrong-sha256": {"sha256": "0" * 64},
    "wrong-md5": {"md5": "0" * 32, "sha256": None},
    "wrong-size": {"size": 1},
    "no-sums": {"md5": None, "sha256": None},
}
"""Good archives of which the index says something false."""


def _sums(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {
        "md5": hashlib.md5(raw).hexdigest(),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "size": len(raw),
    }
