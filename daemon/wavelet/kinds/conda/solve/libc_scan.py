"""The search for a C library in one layer of an image: streamed, in a worker process, to the first certain sign.

glibc says its version in `libc.so.6` itself, and before 2.34 in the names of files; musl is known by its loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import UpstreamBroken

INFLATED_LIMIT = 64 * 1024**3
"""Bytes that one layer may inflate to before the search is given up."""

LIBRARY_LIMIT = 64 * 1024**2
"""Bytes of a library that are searched for its version."""

_DIRECTORY = re.compile(r"(?:usr/)?lib(?:64)?(?:/(?P<cpu>[^/-]+)-linux-gnu[^/]*)?")
_VERSIONED = re.compile(r"(?:libc|ld)-(\d+\.\d+)[0-9.]*\.so")
_LOADER = re.compile(r"ld-musl-(?P<cpu>[^/.]+)\.so\.1")
_BANNER = re.compile(rb"GNU C Library [^\n\0]{0,200}?version (\d+\.\d+)[^0-9]")
_BANNER_SPAN = 256
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the layers show that were looked at, from the top.

    Attributes:
        glibc: its version, once it is found.
        musl: whether musl's loader was found.
        removed: paths that lower layers may have and the image has not.
        opaque: directories whose contents in lower layers the image has not.
    """

    glibc: str = ""
    musl: bool = False
    removed: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()

    def hides(self, path: str) -> bool:
        """Tell whether a path of a lower layer is none of the image's."""
        above = {str(parent) for parent in PurePosixPath(path).parents}
        return not self.removed.isdisjoint(above | {path}) or not self.opaque.isdisjoint(above)


def look(path: Path, name: str, cpu: str, above: Seen) -> Seen:
    """Return what a layer shows, together with the layers above it. It blocks: for a worker process.

    Args:
        path: the layer's file: a tar, as it is or compressed by gzip or zstd.
        name: what errors call the layer.
        cpu: the CPU as directories and loaders have it in their names (`x86_64`); empty where any will do.
        above: what the layers above it have shown.

    Raises:
        UpstreamBroken: it is not that.
    """

    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"the layer {name} of the base image cannot be read: {why}")

    with open_inflated(path) as stream:
        return _search(members_of(stream, Bounds(INFLATED_LIMIT, broken)), cpu, above)


def _search(members: Iterator[Member], cpu: str, above: Seen) -> Seen:
    musl = above.musl
    removed, opaque = set(above.removed), set(above.opaque)
    for member in members:
        directory, _, last = _relative(member.path).rpartition("/")
        if last == _OPAQUE:
            opaque.add(directory or ".")
        elif last.startswith(_WHITEOUT):
            removed.add(f"{directory}/{last.removeprefix(_WHITEOUT)}".lstrip("/"))
        elif _is_searched(directory, cpu) and not above.hides(f"{directory}/{last}"):
            if version := _glibc_version(member, last):
                return Seen(version)
            loader = _LOADER.fullmatch(last)
            musl = musl or (loader is not None and cpu in ("", loader["cpu"]))
    return Seen("", musl, frozenset(removed), frozenset(opaque))


def _relative(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_searched(directory: str, cpu: str) -> bool:
    found = _DIRECTORY.fullmatch(directory)
    return found is not None and (found["cpu"] is None or cpu in ("", found["cpu"]))


def _glibc_version(member: Member, last: str) -> str:
    named = _VERSIONED.fullmatch(last)
    if named is not None:
        return named[1]
    if last != "libc.so.6":
        return ""
    if member.is_symlink or member.is_hard_link:
        target = _VERSIONED.fullmatch(member.target.rpartition("/")[2])
        return target[1] if target is not None else ""
    return _banner_version(member.chunks()) if member.is_file else ""


def _banner_version(chunks: Iterator[bytes]) -> str:
    """Return the version that the library prints when it is run."""
    tail, read = b"", 0
    for chunk in chunks:
        searched = tail + chunk
        found = _BANNER.search(searched)
        if found is not None:
            return found[1].decode()
        tail = searched[-_BANNER_SPAN:]
        read += len(chunk)
        if read > LIBRARY_LIMIT:
            break
    return ""
