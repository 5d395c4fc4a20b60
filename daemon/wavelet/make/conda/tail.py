"""Putting several packages into one layer (runs in worker processes).

A tail is composed: the files' members of blobs that are there already, as they are, between one member of directories
and one that ends the archive. Where packages take paths from each other, the layer is written anew instead.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from wavelet.errors import Internal
from wavelet.image.digest import Digest
from wavelet.make.conda.info import Fragment
from wavelet.make.conda.layer import LayerWriter, directories_member, end_member
from wavelet.plan.conda import PREFIX

_CHUNK = 1024 * 1024
_GZIP = 31
"""Window bits for a gzip member, whose checksum is verified."""


class Piece(NamedTuple):
    """A member of the layer: the file with its blob, where its files are in there, and which paths are left out."""

    blob: Path
    fragment: Fragment
    lost: frozenset[str] = frozenset()


class Composed(NamedTuple):
    """A finished layer: digest and size in bytes of the blob, digest of its tar."""

    digest: Digest
    size: int
    diff_id: Digest


def compose(target: Path, directories: Sequence[str], pieces: Sequence[Piece]) -> Composed:
    """Write the layer of `pieces` to `target`, which must not be there yet. No two of them have the same path.

    Raises:
        Internal: a blob is not what its record says.
    """
    blob, tar = hashlib.sha256(), hashlib.sha256()
    with target.open("xb") as file:
        for member in _members(directories, pieces):
            inflate = isal_zlib.decompressobj(_GZIP)
            inflated = 0
            for data in member.data:
                file.write(data)
                blob.update(data)
                plain = inflate.decompress(data)
                tar.update(plain)
                inflated += len(plain)
            _check(inflate.eof and not inflate.unused_data and member.inflated in (None, inflated), member.name)
        size = file.tell()
    return Composed(Digest(f"sha256:{blob.hexdigest()}"), size, Digest(f"sha256:{tar.hexdigest()}"))


def merge(target: Path, directories: Sequence[str], pieces: Sequence[Piece]) -> Composed:
    """Write the layer of `pieces` to `target` without what they lose. Their tars lie beside it meanwhile.

    Raises:
        Internal: a blob is not what its record says.
    """
    with LayerWriter(target, directories) as layer:
        for piece in pieces:
            plain = target.with_suffix(".tar")
            _inflate(piece, plain)
            with tarfile.open(plain, "r:", encoding="utf-8") as archive:
                _copy(archive, layer, piece.lost)
            plain.unlink()
        written = layer.finish()
    return Composed(written.digest, written.size, written.diff_id)


class _Member(NamedTuple):
    name: str
    data: Iterator[bytes]
    inflated: int | None


def _members(directories: Sequence[str], pieces: Sequence[Piece]) -> Iterator[_Member]:
    yield _Member("directories", iter([directories_member(directories)]), None)
    for piece in pieces:
        yield _Member(piece.blob.name, _read(piece), piece.fragment.inflated)
    yield _Member("end", iter([end_member()]), None)


def _read(piece: Piece) -> Iterator[bytes]:
    with piece.blob.open("rb") as blob:
        blob.seek(piece.fragment.offset)
        rest = piece.fragment.length
        while rest and (data := blob.read(min(rest, _CHUNK))):
            rest -= len(data)
            yield data


def _inflate(piece: Piece, plain: Path) -> None:
    inflate = isal_zlib.decompressobj(_GZIP)
    with plain.open("xb") as file:
        for data in _read(piece):
            file.write(inflate.decompress(data))
        _check(inflate.eof and file.tell() == piece.fragment.inflated, piece.blob.name)


def _copy(archive: tarfile.TarFile, layer: LayerWriter, lost: frozenset[str]) -> None:
    root = PREFIX.strip("/") + "/"
    for entry in archive.getmembers():
        path = entry.name.removeprefix(root)
        if path in lost:
            continue
        if entry.issym():
            layer.symlink(path, entry.linkname, int(entry.mtime))
            continue
        # A further name of a file becomes a file of its own: the first one may be among what is lost.
        file = archive.getmember(entry.linkname) if entry.islnk() else entry
        layer.stream(path, file.size, _chunks(archive, file), int(entry.mtime), executable=bool(entry.mode & 0o100))


def _chunks(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    contents = archive.extractfile(entry)
    assert contents is not None, "the files' member has regular files and links only"
    while data := contents.read(_CHUNK):
        yield data


def _check(well: bool, name: str) -> None:
    if not well:
        raise Internal(f"the layer {name} of the store does not have the files that its record says")
