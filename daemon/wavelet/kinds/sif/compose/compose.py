"""Segments to the parts of a SIF that are its own: what stands before their data, its head, and its tail behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wavelet.archive.squashfs.codecs import Codec
from wavelet.archive.squashfs.image import ImageTables
from wavelet.archive.squashfs.superblock import Superblock, size_before_data
from wavelet.errors import Internal
from wavelet.image.reference import Digest, Hasher
from wavelet.kinds.sif.compose.file import PARTITION_AT, architecture_code, before_partition, padded
from wavelet.kinds.sif.compose.links import Links
from wavelet.kinds.sif.compose.merge import merge, with_missing
from wavelet.kinds.sif.compose.own_layer import OwnLayer, own_layer
from wavelet.kinds.sif.compose.runtime_files import MISSING, runtime_files
from wavelet.kinds.sif.compose.tree import Segment, write_tree
from wavelet.kinds.sif.segments.index import Entry, Header, read_index

_PIECE = 1024 * 1024
"""Bytes that are hashed at a time."""


@dataclass(frozen=True, slots=True)
class SegmentFiles:
    """A segment: its index, and its data with the size that it has to have."""

    index: Path
    data: Path
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file that was made."""

    path: Path
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Composed:
    """The SIF: `head`, the data of all segments in their order, `tail`; with size and digest of the whole."""

    head: Part
    tail: Part
    size: int
    digest: Digest


def compose(
    segments: Sequence[SegmentFiles], config: bytes, architecture: str, codec: Codec, directory: Path
) -> Composed:
    """Write head and tail of a SIF into `directory`; for a worker process.

    Args:
        segments: of the image's layers, the lowest first, all made with `codec`.
        config: the image's configuration, as it came.
        architecture: as in OCI platforms.
        codec: what the tables are compressed with.
        directory: empty; has `head` and `tail` afterwards.

    Raises:
        InvalidRequest: a SIF cannot be for this architecture.
        UpstreamBroken: the image has what a squashfs image cannot have; the message says what.
        Internal: a segment's data is not what its index is of.
    """
    architecture_code(architecture)
    own = own_layer(runtime_files(config), codec)
    headers = [*(_header(segment) for segment in segments), own.header]
    layout, data_end = _layout(headers, size_before_data(codec))
    tail = directory / "tail"
    with tail.open("xb") as file:
        file.write(own.data)
        with ImageTables(file, data_end, directory, codec) as tables:
            superblock = _write_tables(segments, headers, own, layout, tables)
        partition = padded(superblock.size)
        file.write(bytes(partition - superblock.size))
    head = directory / "head"
    head.write_bytes(before_partition(architecture, partition) + superblock.encode(codec))
    return _composed(head, [segment.data for segment in segments], tail, PARTITION_AT + partition)


def _write_tables(
    segments: Sequence[SegmentFiles],
    headers: Sequence[Header],
    own: OwnLayer,
    layout: Sequence[Segment],
    tables: ImageTables,
) -> Superblock:
    @contextmanager
    def layers() -> Iterator[Sequence[Iterable[Entry]]]:
        with ExitStack() as opened:
            files = [opened.enter_context(segment.index.open("rb")) for segment in segments]
            yield [*(read_index(file)[1] for file in files), own.entries]

    links = Links(headers, layers)
    with layers() as opened:
        entries = with_missing(merge(opened), MISSING, len(segments))
        root = write_tree(entries, layout, links, tables.tree)
    return tables.finish(root, _fragments(headers, layout))


def _header(segment: SegmentFiles) -> Header:
    with segment.index.open("rb") as file:
        header, _ = read_index(file)
    if not segment.data.stat().st_size == segment.size == header.size:
        raise Internal(f"a segment of {segment.size} bytes is not the {header.size} that its index is of")
    return header


def _layout(headers: Sequence[Header], start: int) -> tuple[list[Segment], int]:
    """Return where each segment and its fragments begin, and where the last one ends."""
    layout, fragments = [], 0
    for header in headers:
        layout.append(Segment(start, fragments))
        start += header.size
        fragments += len(header.fragments)
    return layout, start


def _fragments(headers: Sequence[Header], layout: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    for header, segment in zip(headers, layout, strict=True):
        for start, size in header.fragments:
            yield segment.start + start, size


def _composed(head: Path, data: Sequence[Path], tail: Path, size: int) -> Composed:
    """Hash the file as a whole, and its own parts."""
    whole = hashlib.sha256()
    first = _part(head, whole)
    read = sum(_hash(path, whole) for path in data)
    last = _part(tail, whole)
    if first.size + read + last.size != size:
        raise Internal(f"a SIF has {first.size + read + last.size} bytes, and its header says {size}")
    return Composed(first, last, size, _digest(whole))


def _part(path: Path, whole: Hasher) -> Part:
    own = hashlib.sha256()
    size = _hash(path, whole, own)
    return Part(path, size, _digest(own))


def _hash(path: Path, *hashers: Hasher) -> int:
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            size += len(piece)
            for hasher in hashers:
                hasher.update(piece)
    return size


def _digest(hasher: Hasher) -> Digest:
    return Digest(f"sha256:{hasher.hexdigest()}")
