"""A layer's tar, written again with some paths elsewhere and some left out. Blocks, and is called in a worker."""

from __future__ import annotations

import copy
import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from wavelet.archive.inflated import open_inflated
from wavelet.image.augment import AddedLayer
from wavelet.image.image import Content, Descriptor, Family
from wavelet.image.reference import Digest
from wavelet.kinds.augment.layer_members import members, read_layer, relative
from wavelet.kinds.augment.marks import KEEP
from wavelet.kinds.kind import Work

_ENTRY_ROOM = 4096


@dataclass(frozen=True, slots=True)
class Changes:
    """What is written otherwise than it is.

    Attributes:
        moved: directories, and where what is in them goes; they themselves are left out.
        omitted: paths that are left out.
        heirs: of omitted files that have hard links which stay, the one that gets the contents.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    omitted: frozenset[str] = frozenset()
    heirs: Mapping[str, str] = field(default_factory=dict)


async def rewritten(layer: AddedLayer, content: Content, changes: Changes, work: Work) -> tuple[AddedLayer, Content]:
    """Return a layer with changes, and its content, kept."""
    room = await read_layer(work, content, room_of)
    path = await work.path(content)
    async with work.scratch(room) as scratch:
        digest, size = await work.run(rewrite, path, scratch / "layer", changes)
        # Not compressed: what compressors make of it may differ from node to node, and the image may not.
        new = await work.adopt(scratch / "layer", Descriptor(Family.OCI.layer("tar"), digest, size))
    return AddedLayer(digest, size, digest, "tar", layer.architecture), new


def room_of(layer: Path, name: str) -> int:
    """Return the bytes that a layer as a tar stays under, whatever its paths become."""
    return sum(member.size + _ENTRY_ROOM for member in members(layer, name)) + 10 * _ENTRY_ROOM


def rewrite(layer: Path, target: Path, changes: Changes) -> tuple[Digest, int]:
    """Write a layer's tar with changes; return its digest and size."""
    digest = hashlib.sha256()
    named = frozenset(changes.heirs.values())
    with (
        open_inflated(layer) as raw,
        target.open("xb") as file,
        tarfile.open(fileobj=cast(IO[bytes], raw), mode="r|", errors="surrogateescape") as reading,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as writing,
    ):
        while (member := reading.next()) is not None:
            reading.members = []  # type: ignore[attr-defined]  # it keeps them all otherwise
            path = relative(member.name)
            heir = changes.heirs.get(path) if member.isreg() else None
            if path in named or (path in changes.omitted and heir is None):
                continue
            if member.isdir() and path in changes.moved:
                continue
            new = _changed(member, heir or member.name, changes)
            writing.addfile(new, reading.extractfile(member) if member.isreg() else None)
    with target.open("rb") as written:
        while chunk := written.read(1 << 20):
            digest.update(chunk)
    return Digest(f"sha256:{digest.hexdigest()}"), target.stat().st_size


def _changed(member: tarfile.TarInfo, name: str, changes: Changes) -> tarfile.TarInfo:
    new = copy.copy(member)
    new.name = _through(name, changes.moved)
    new.pax_headers = {key: value for key, value in member.pax_headers.items() if "path" not in key and key != KEEP}
    if member.islnk():
        to = relative(member.linkname)
        new.linkname = _through(changes.heirs.get(to, to), changes.moved)
    return new


def _through(path: str, links: Mapping[str, str]) -> str:
    path = relative(path)
    for directory, target in links.items():
        if path.startswith(f"{directory}/"):
            return target + path[len(directory) :]
    return path or "."
