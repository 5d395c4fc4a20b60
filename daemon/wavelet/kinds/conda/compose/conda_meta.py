"""The layer that is an image's own, `conda-meta`: what conda and its kin know an environment by (pure).

`conda-meta` has a record of each package, so that `conda list`, `micromamba list` and scanners see them, its history,
and the lock as a file that all of them install from. Nothing in it says where or when the image was made.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from wavelet.archive import gzip_members
from wavelet.archive.tar_entries import DIRECTORY_TIME
from wavelet.archive.tar_format import END, padding
from wavelet.image.digest import Digest
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.prefix_layer import ENTRIES
from wavelet.kinds.conda.model.packages import Package, Wheel

DIRECTORY = "conda-meta"
EXPLICIT = f"{DIRECTORY}/explicit.txt"
HISTORY = f"{DIRECTORY}/history"

_HISTORY_START = "==> 1980-01-01 00:00:00 <==\n# cmd: wavelet\n"
"""How conda's history begins a revision. Its time is that of all files here, for want of one that is the image's."""


class Layer(NamedTuple):
    """A layer as bytes, and the digest of its tar."""

    blob: bytes
    diff_id: Digest


def records(packages: Iterable[tuple[Package, LayerInfo]]) -> dict[str, bytes]:
    """Return the record of each package by its path: its index.json, where it came from, and its files."""
    return {f"{DIRECTORY}/{p.stem}.json": msgspec.json.encode(record(p, info), order="sorted") for p, info in packages}


def record(package: Package, info: LayerInfo) -> dict[str, object]:
    """Return a package's record as rattler's `PrefixRecord` and conda's have it."""
    # Without MD5 and size: locks have them or not, and it is the same image.
    return {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": [],
        **info.index,
        "subdir": package.subdir,
        "url": package.url,
        "channel": package.channel,
        "fn": package.file_name,
        "sha256": package.sha256,
        "files": sorted([*info.files, *info.links]),
    }


def history(packages: Iterable[Package]) -> bytes:
    """Return the history of an environment that was made at once."""
    lines = (f"+{package.channel}/{package.subdir}::{package.stem}\n" for package in packages)
    return (_HISTORY_START + "".join(lines)).encode()


def explicit(packages: Iterable[Package], subdir: str, wheels: Iterable[Wheel] = ()) -> str:
    """Return an explicit list; packages come in the order in which they are installed.

    Hashes are written `#sha256:<hex>`, which conda, micromamba and rattler read (text spec input files, the CEP on
    them: "The prefix `sha256:` MAY be present"); without the prefix micromamba takes any hash for an MD5. The form has
    no lines for wheels: they are comments, `# pip <name> @ <URL>#sha256=<hex>` as conda-lock writes them.
    """
    lines = [f"{p.url}#sha256:{p.sha256}\n" for p in packages]
    lines += [f"# pip {distribution(wheel)[0]} @ {wheel.url}#sha256={wheel.sha256}\n" for wheel in wheels]
    return f"# platform: {subdir}\n@EXPLICIT\n" + "".join(lines)


def distribution(wheel: Wheel) -> tuple[str, str]:
    """Return name and version of a wheel's distribution, the name in the form that pip shows."""
    name, version = (urllib.parse.unquote(text) for text in (wheel.name, wheel.version))
    return name.lower().replace("_", "-"), version


def layer(documents: Mapping[str, bytes], programs: Mapping[str, bytes]) -> Layer:
    """Return the layer with these files, of which `programs` are executable.

    Paths are relative to the prefix, or begin with a slash: of these the directories are the base's, and left as it
    has them.
    """
    inside = [path for path in (*documents, *programs) if not path.startswith("/")]
    directories = sorted({str(parent) for path in inside for parent in PurePosixPath(path).parents})
    entries = [ENTRIES.directories("" if each == "." else each for each in directories)]
    for path, data in sorted({**documents, **programs}.items()):
        header = ENTRIES.file_header(path, len(data), DIRECTORY_TIME, executable=path in programs)
        entries += [header, data, padding(len(data))]
    return _archive([*entries, END])


def _archive(parts: Sequence[bytes]) -> Layer:
    data = b"".join(parts)
    return Layer(gzip_members.member(data), Digest(f"sha256:{hashlib.sha256(data).hexdigest()}"))
