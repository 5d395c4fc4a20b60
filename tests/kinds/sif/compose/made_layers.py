"""Layers as segments, made by hand: entries with their content, compressed block by block and written as an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import trees
from wavelet.archive.squashfs.codecs import BLOCK, GZIP, Codec
from wavelet.kinds.sif.compose.compose import Composed, SegmentFiles, compose
from wavelet.kinds.sif.segments.index import STORED, Data, Entry, Header, order, write_index

EMPTY_CONFIG = b"{}"


@dataclass(frozen=True)
class Made:
    """An entry with its content; names of one file have one `same`."""

    path: bytes
    kind: str = "file"
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    target: bytes = b""
    same: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    opaque: bool = False
    implied: bool = False


def directory(path: bytes, mode: int = 0o755, **other: object) -> Made:
    """Return a directory."""
    return dataclasses.replace(Made(path, "directory", mode=mode), **other)


def symlink(path: bytes, target: bytes, **other: object) -> Made:
    """Return a symbolic link."""
    return dataclasses.replace(Made(path, "symlink", mode=0o777, target=target), **other)


@dataclass
class _Blocks:
    """The data of a segment: what is large in blocks, holes left out, what is left in fragments."""

    codec: Codec
    data: bytearray = field(default_factory=bytearray)
    fragments: list[tuple[int, int]] = field(default_factory=list)

    def place(self, content: bytes, fragmented: bool = True) -> Data:
        start = len(self.data)
        whole = len(content) - len(content) % BLOCK if fragmented else len(content)
        blocks = tuple(self.block(content[at : min(at + BLOCK, whole)]) for at in range(0, whole, BLOCK))
        rest = content[whole:]
        if not rest:
            return Data(len(content), start, blocks)
        at = len(self.data)
        self.fragments.append((at, self.block(rest) or self.stored(rest)))
        return Data(len(content), start if blocks else 0, blocks, len(self.fragments) - 1, 0)

    def block(self, piece: bytes) -> int:
        if not any(piece):
            return 0
        packed = self.codec.compressor()(piece)
        if len(packed) >= len(piece):
            return self.stored(piece)
        self.data += packed
        return len(packed)

    def stored(self, piece: bytes) -> int:
        self.data += piece
        return len(piece) | STORED


def write_layer(place: Path, made: Sequence[Made], codec: Codec = GZIP, targets: Sequence[bytes] = ()) -> SegmentFiles:
    """Write a segment of these entries into the new directory `place`; directories on the way need not be named."""
    place.mkdir()
    blocks = _Blocks(codec)
    shared: dict[int, Data] = {}
    entries = {b"": Entry(b"", "directory", implied=True)}
    for each in made:
        for end in (at for at, byte in enumerate(each.path) if byte == ord("/")):
            entries.setdefault(each.path[:end], Entry(each.path[:end], "directory", implied=True))
    for each in made:
        data = None
        if each.kind == "file":
            data = shared.get(each.same) or blocks.place(each.content)
            if each.same:
                shared[each.same] = data
        entries[each.path] = Entry(
            each.path, each.kind, each.mode, each.uid, each.gid, each.mtime, each.target,  # type: ignore[arg-type]
            data, each.same, each.xattrs, each.opaque, each.implied,
        )  # fmt: skip
    targets = sorted({*targets, *(each.target for each in made if each.kind == "link")})
    header = Header(len(blocks.data), tuple(blocks.fragments), len(entries), bool(shared or targets), tuple(targets))
    with (place / "index").open("wb") as file:
        write_index(file, header, sorted(entries.values(), key=lambda entry: order(entry.path)))
    (place / "data").write_bytes(blocks.data)
    return SegmentFiles(place / "index", place / "data", len(blocks.data))


def compose_layers(
    place: Path, layers: Sequence[Sequence[Made]], codec: Codec = GZIP, config: bytes = EMPTY_CONFIG
) -> tuple[Composed, list[SegmentFiles]]:
    """Write layers and compose them in the new directory `place`."""
    place.mkdir()
    segments = [write_layer(place / f"layer-{number}", layer, codec) for number, layer in enumerate(layers)]
    (place / "own").mkdir()
    return compose(segments, config, "amd64", codec, place / "own"), segments


def write_sif(place: Path, layers: Sequence[Sequence[Made]], codec: Codec = GZIP, config: bytes = EMPTY_CONFIG) -> Path:
    """Return the file that these layers are, in the new directory `place`."""
    composed, segments = compose_layers(place, layers, codec, config)
    return joined(composed, segments, place / "image.sif")


def joined(composed: Composed, segments: Sequence[SegmentFiles], file: Path) -> Path:
    """Write the whole of a SIF, of its parts."""
    with file.open("wb") as whole:
        for part in (composed.head.path, *(segment.data for segment in segments), composed.tail.path):
            whole.write(part.read_bytes())
    return file


def image_of(tree: trees.Tree) -> trees.Tree:
    """Return a tree without what a SIF has of its own."""
    return trees.without(tree, b".singularity.d", b"singularity")
