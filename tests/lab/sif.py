"""SIF files as others read them: siftool, the kernel's squashfs, squashfuse and unsquashfs."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from groups import program
from lab import trees
from lab.engines import environment
from lab.processes import LabError, run

READ_SECONDS = 120.0
KERNEL, SQUASHFUSE, UNSQUASHFS = READERS = ("kernel", "squashfuse", "unsquashfs")
_HEADER = 128
_DESCRIPTOR = struct.Struct("<i?IIIqqq")
_PARTITION = 0x4004


@dataclass(frozen=True)
class Partition:
    """Where the file system lies in the file, in bytes."""

    offset: int
    size: int


def partition(file: Path) -> Partition:
    """Return the first partition of a SIF by its descriptors, which are read as the format says."""
    with file.open("rb") as sif:
        header = sif.read(_HEADER)
        if header[32:41] != b"SIF_MAGIC":
            raise LabError(f"{file} is no SIF: {header[:48]!r}")
        total, offset = struct.unpack_from("<qq", header, 88)
        sif.seek(offset)
        for _ in range(total):
            kind, used, *_, start, size, _ = _DESCRIPTOR.unpack(sif.read(585)[: _DESCRIPTOR.size])
            if used and kind == _PARTITION:
                return Partition(start, size)
    raise LabError(f"{file} has no partition")


def seen_by(reader: str, tree: trees.Tree) -> trees.Tree:
    """Return what a reader can tell of a tree: squashfuse tells neither which names are one file, nor capabilities."""
    if reader != SQUASHFUSE:
        return tree
    return {
        path: replace(entry, others=(), xattrs=tuple(each for each in entry.xattrs if each[0] != trees.CAPABILITY))
        for path, entry in tree.items()
    }


def siftool(*arguments: str | Path) -> str:
    """Run siftool and return what it prints."""
    return run([_program("siftool"), *arguments], environment=environment()).stdout


def listed(file: Path) -> list[tuple[int, int, str]]:
    """Return start, end and type of each object of a SIF, as `siftool list` has them."""
    rows = re.findall(r"(?m)^\d+\s*\|[^|]*\|[^|]*\|(\d+)-(\d+)\s*\|(.*)$", siftool("list", file))
    return [(int(start), int(end), kind.strip()) for start, end, kind in rows]


@contextlib.contextmanager
def mounted(file: Path, place: Path, reader: str = KERNEL, offset: int | None = None) -> Iterator[Path]:
    """Mount the file system of a SIF, by the kernel or by squashfuse, at the new directory `place`.

    With an `offset` the file may be any that has a squashfs there.
    """
    start = partition(file).offset if offset is None else offset
    place.mkdir()
    if reader == KERNEL:
        command = ["mount", "-t", "squashfs", "-o", f"loop,ro,offset={start}", str(file), str(place)]
        end = ["umount", str(place)]
    else:
        command = [_program("squashfuse"), "-o", f"offset={start}", str(file), str(place)]
        end = [_program("fusermount3"), "-u", str(place)]
    run(command, environment=environment())
    try:
        yield place
    finally:
        run(end, environment=environment())
        place.rmdir()


def unpacked(file: Path, place: Path, offset: int | None = None) -> Path:
    """Unpack the file system of a SIF by unsquashfs into the new directory `place`, as root with all attributes."""
    start = partition(file).offset if offset is None else offset
    command = ["unsquashfs", "-no-progress", "-quiet", "-strict-errors", "-offset", str(start), "-dest"]
    run([*command, place, file], environment=environment(), seconds=READ_SECONDS)
    return place


def tree(file: Path, reader: str, scratch: Path, offset: int | None = None) -> trees.Tree:
    """Return the tree of a SIF as one of `READERS` reads it; every byte of it is read."""
    place = scratch / f"{file.name}-{reader}"
    if reader == UNSQUASHFS:
        return trees.read(unpacked(file, place, offset))
    with mounted(file, place, reader, offset) as root:
        return trees.read(root)


def _program(name: str) -> str:
    found = program(name)
    if found is None:
        raise LabError(f"no {name} on this machine")
    return found
