"""Layers that several packages share (made in worker processes).

Such a layer is composed: the files' members of blobs that are there already, as they are, between one member of
directories and one that ends the archive. Where packages take paths from each other, the layer is written anew instead.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from isal import isal_zlib

from wavelet.archive.gzip_members import BROKEN_GZIP, Fragment
from wavelet.archive.layer_writer import LayerWriter, end_member
from wavelet.errors import Internal
from wavelet.image.reference import Digest
from wavelet.kinds.conda.link.prefix_layer import directories_member, prefix_layer
from wavelet.kinds.conda.model.packages import PREFIX

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
    """Write the layer of `pieces` to the file `target`. No two of them have the same path.

    Raises:
        Internal: a blob is not what its record says.
    """
    blob, tar = hashlib.sha256(), hashlib.sha256()
    with target.open("wb") as file:

        def copied(data: Iterable[bytes]) -> Iterator[bytes]:
            for chunk in data:
                file.write(chunk)
                blob.update(chunk)
                yield chunk

        _pass(copied([directories_member(directories)]), tar.update)
        for piece in pieces:
            _checked(piece, _pass(copied(_read(piece)), tar.update))
        _pass(copied([end_member()]), tar.update)
        size = file.tell()
    return Composed(Digest(f"sha256:{blob.hexdigest()}"), size, Digest(f"sha256:{tar.hexdigest()}"))


def merge(target: Path, directories: Sequence[str], pieces: Sequence[Piece]) -> Composed:
    """Write the layer of `pieces` to `target` without what they lose. Their tars lie beside it meanwhile.

    Raises:
        Internal: a blob is not what its record says.
    """
    with prefix_layer(target, directories) as layer:
        for piece in pieces:
            plain = target.with_suffix(".tar")
            with plain.open("wb") as file:
                _checked(piece, _pass(_read(piece), file.write))
            with tarfile.open(plain, "r:", encoding="utf-8") as archive:
                _copy(archive, layer, piece.lost)
            plain.unlink()
        written = layer.finish()
    return Composed(written.digest, written.size, written.diff_id)


def _pass(member: Iterable[bytes], take: Callable[[bytes], object]) -> int | None:
    """Inflate a gzip member and pass its data on; return how many bytes it has, or None if it is not a whole one."""
    inflate = isal_zlib.decompressobj(_GZIP)
    inflated = 0
    try:
        for data in member:
            plain = inflate.decompress(data)
            inflated += len(plain)
            take(plain)
    except BROKEN_GZIP:
        return None
    return inflated if inflate.eof and not inflate.unused_data else None


def _read(piece: Piece) -> Iterator[bytes]:
    with piece.blob.open("rb") as blob:
        blob.seek(piece.fragment.offset)
        rest = piece.fragment.length
        while rest and (data := blob.read(min(rest, _CHUNK))):
            rest -= len(data)
            yield data


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


def _checked(piece: Piece, inflated: int | None) -> None:
    if inflated != piece.fragment.inflated:
        raise Internal(f"the layer {piece.blob.name} of the store does not have the files that its record says")
