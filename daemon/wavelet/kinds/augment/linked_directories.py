"""Layers that have a directory where the image below has a link, and what is done about them.

Most distributions have made `/bin`, `/lib` and their like links to what is in `/usr`. A layer that has `bin/x` covers
the link with a directory, and no program of the image starts any more. Its paths are put below the link's target
instead, as tools that copy into containers do. What reads layers blocks, and is called in a thread or worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import posixpath
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from wavelet.archive.inflated import open_inflated
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import InvalidRequest, UpstreamBroken, WaveletError
from wavelet.image.augment import AddedLayer
from wavelet.image.image import Content, Descriptor, Family
from wavelet.image.reference import Digest
from wavelet.kinds.kind import Work

DIRECTORIES = frozenset(
    ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/sbin", "usr/lib64", "var/run", "var/lock"],
)
"""What is a link in the images of distributions (UsrMerge, and /run)."""

INFLATED_LIMIT = 64 * 1024**3
"""Bytes that one layer of the image below may inflate to before the search is given up."""

SMALL = 256 * 1024
"""Bytes of a layer, as it is compressed, that is read in a thread."""

_ENTRY_ROOM = 4096
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


async def moved(
    base: Sequence[Content], layers: Sequence[tuple[AddedLayer, Content]], work: Work
) -> list[tuple[AddedLayer, Content]]:
    """Return the layers to add to an image whose layers are `base` (the lowest first), in their order.

    Raises:
        UpstreamBroken: a layer below cannot be read.
        InvalidRequest: a link leads nowhere that a layer could put anything.
    """
    wanted: dict[Digest, frozenset[str]] = {}
    for layer, content in layers:
        path = await work.path(content)
        # What is small is read at once: a worker process may have to be started first.
        small = content.descriptor.size <= SMALL
        run = asyncio.to_thread if small else work.run
        wanted[layer.digest] = await run(directories_of, path, str(layer.digest))
    left = frozenset().union(*wanted.values())
    links: dict[str, str] = {}
    for content in reversed(base):
        if not left:
            break
        path = await work.path(content)
        decided: dict[str, str] = await work.run(links_of, path, str(content.descriptor.digest), left)
        links |= {directory: target for directory, target in decided.items() if target}
        left -= decided.keys()
    return [await _moved(layer, content, links, work) if wanted[layer.digest] & links.keys() else (layer, content)
            for layer, content in layers]  # fmt: skip


async def _moved(
    layer: AddedLayer, content: Content, links: Mapping[str, str], work: Work
) -> tuple[AddedLayer, Content]:
    path = await work.path(content)
    room = await work.run(room_of, path, str(layer.digest))
    async with work.scratch(room) as scratch:
        digest, size = await work.run(move, path, scratch / "layer", dict(links))
        # Not compressed: what compressors make of it may differ from node to node, and the image may not.
        new = await work.adopt(scratch / "layer", Descriptor(Family.OCI.layer("tar"), digest, size))
    shown = ", ".join(f"{directory} to {target}" for directory, target in sorted(links.items()))
    work.report(f"the layer {layer.digest} has directories where the image has links; moved: {shown}")
    return AddedLayer(digest, size, digest, "tar", layer.architecture), new


def directories_of(layer: Path, name: str) -> frozenset[str]:
    """Return which of `DIRECTORIES` a layer puts something into; what is no tar is left to whoever unpacks it."""
    found: set[str] = set()
    with contextlib.suppress(UpstreamBroken):
        for member in _members(layer, name):
            path = _relative(member.path)
            found.update(directory for directory in DIRECTORIES if path.startswith(f"{directory}/"))
    return frozenset(found)


def links_of(layer: Path, name: str, wanted: frozenset[str]) -> dict[str, str]:
    """Return what a layer says of these paths: where a link leads, from the root on, or nothing where it is none."""
    found: dict[str, str] = {}
    for member in _members(layer, name):
        path = _relative(member.path)
        directory, _, last = path.rpartition("/")
        if path in wanted:
            found[path] = _target(path, member.target) if member.is_symlink else ""
        elif last.startswith(_WHITEOUT) and last != _OPAQUE:
            gone = f"{directory}/{last.removeprefix(_WHITEOUT)}".lstrip("/")
            found |= {each: "" for each in wanted if each == gone and each not in found}
        else:
            found |= {each: "" for each in wanted if path.startswith(f"{each}/") and each not in found}
    return found


def room_of(layer: Path, name: str) -> int:
    """Return the bytes that a layer as a tar stays under, whatever its paths become."""
    return sum(member.size + _ENTRY_ROOM for member in _members(layer, name)) + 10 * _ENTRY_ROOM


def move(layer: Path, target: Path, links: Mapping[str, str]) -> tuple[Digest, int]:
    """Write a layer's tar with its paths below where links lead; return its digest and size."""
    digest = hashlib.sha256()
    with (
        open_inflated(layer) as raw,
        target.open("xb") as file,
        tarfile.open(fileobj=cast(IO[bytes], raw), mode="r|", errors="surrogateescape") as reading,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as writing,
    ):
        while (member := reading.next()) is not None:
            reading.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
            if member.isdir() and _relative(member.name) in links:
                continue
            new = copy.copy(member)
            new.name = _through(member.name, links)
            new.pax_headers = {key: value for key, value in member.pax_headers.items() if "path" not in key}
            if member.islnk():
                new.linkname = _through(member.linkname, links)
            writing.addfile(new, reading.extractfile(member) if member.isreg() else None)
    with target.open("rb") as written:
        while chunk := written.read(1 << 20):
            digest.update(chunk)
    return Digest(f"sha256:{digest.hexdigest()}"), target.stat().st_size


def _members(layer: Path, name: str) -> Iterable[Member]:
    def broken(why: str) -> UpstreamBroken:
        return UpstreamBroken(f"the layer {name} cannot be read: {why}")

    with open_inflated(layer) as stream:
        yield from members_of(stream, Bounds(INFLATED_LIMIT, broken))


def _through(path: str, links: Mapping[str, str]) -> str:
    relative = _relative(path)
    for directory, target in links.items():
        if relative.startswith(f"{directory}/"):
            return target + relative[len(directory) :]
    return relative or "."


def _target(path: str, target: str) -> str:
    found = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target)).strip("/")
    if not found or found == path or found.startswith(f"{path}/"):
        raise _nowhere(path, target)
    return found


def _nowhere(path: str, target: str) -> WaveletError:
    return InvalidRequest(
        f"containerConfig.layers: the image has a link /{path} to {target!r}, so that nothing can be put into /{path};"
        " put the layer's files into another directory",
        field="containerConfig.layers",
    )


def _relative(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))
