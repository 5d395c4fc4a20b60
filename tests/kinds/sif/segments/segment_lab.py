"""Layers of a test's own, and what their segments come to: entries by their paths, with the bytes of their files."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import zstandard

from wavelet.archive.squashfs.codecs import BLOCK, GZIP, Codec
from wavelet.kinds.sif.segments.index import STORED, Data, Entry, Header, read_index
from wavelet.kinds.sif.segments.maker import DATA, TABLE, Made, make_segment

ROOM = 10**9

CHARACTER, BLOCK_DEVICE, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE


def member(
    name: bytes | str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **also: object
) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member of a tar; `also` are attributes of `TarInfo`."""
    info = tarfile.TarInfo(name if isinstance(name, str) else text(name))
    info.type, info.size, info.mtime = kind, len(data), 1_700_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for attribute, value in also.items():
        setattr(info, attribute, value)
    return info, data


def directory(name: bytes | str, **also: object) -> tuple[tarfile.TarInfo, bytes]:
    """Return a directory of a tar."""
    return member(name, tarfile.DIRTYPE, **also)


def symlink(name: bytes | str, target: bytes | str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a symbolic link of a tar."""
    return member(name, tarfile.SYMTYPE, linkname=target if isinstance(target, str) else text(target))


def link(name: bytes | str, target: bytes | str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a hard link of a tar."""
    return member(name, tarfile.LNKTYPE, linkname=target if isinstance(target, str) else text(target))


def text(name: bytes) -> str:
    """Return a name as `tarfile` has it."""
    return name.decode("utf-8", "surrogateescape")


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as whole:
        for info, data in members:
            whole.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Segment(NamedTuple):
    """A segment that was made, read back."""

    made: Made
    header: Header
    entries: dict[bytes, Entry]
    data: bytes
    codec: Codec

    def content(self, path: bytes) -> bytes:
        """Return the bytes of a file."""
        data = self.entries[path].data
        assert data is not None
        return self.bytes_of(data)

    def bytes_of(self, data: Data) -> bytes:
        """Return the bytes that are somewhere."""
        whole, at = b"", data.start
        for word in data.blocks:
            length = min(BLOCK, data.size - len(whole))
            block = self._block(at, word) if word else bytes(length)
            assert len(block) == length
            whole += block
            at += word & ~STORED
        if data.fragment >= 0:
            start, word = self.header.fragments[data.fragment]
            whole += self._block(start, word)[data.offset :][: data.size - len(whole)]
        assert len(whole) == data.size
        return whole

    def _block(self, start: int, word: int) -> bytes:
        block = self.data[start : start + (word & ~STORED)]
        assert len(block) == word & ~STORED
        if word & STORED:
            return block
        return zlib.decompress(block) if self.codec.name == "gzip" else zstandard.decompress(block)


def segment(layer: bytes, scratch: Path, codec: Codec = GZIP, room: int = ROOM) -> Segment:
    """Make the segment of a layer; `scratch` is empty or not there, and is so again afterwards."""
    scratch.mkdir(exist_ok=True)
    (scratch / "layer").write_bytes(layer)
    try:
        made = make_segment(scratch / "layer", "sha256:of-the-layer", scratch, codec, room)
        with (scratch / TABLE).open("rb") as file:
            header, entries = read_index(file)
            read = list(entries)
        assert [each.order for each in read] == sorted({each.order for each in read})
        assert header.entries == len(read)
        return Segment(made, header, {each.path: each for each in read}, (scratch / DATA).read_bytes(), codec)
    finally:
        for file_of in scratch.iterdir():
            file_of.unlink()


def made_of(scratch: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Segment:
    """Make the segment of a layer with these members."""
    return segment(packed(members), scratch / "segment")


def shown(entries: Mapping[bytes, Entry]) -> dict[bytes, str]:
    """Return entries as words: kind, and what there is to say of it."""
    return {path: " ".join(_words(entry)) for path, entry in entries.items()}


def _words(entry: Entry) -> Iterable[str]:
    yield entry.kind
    if entry.target:
        yield f"to {text(entry.target)}"
    if entry.opaque:
        yield "opaque"
    if entry.implied:
        yield "implied"
