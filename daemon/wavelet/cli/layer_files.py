"""Layers from directories: the same files make the same bytes, whenever, wherever and by whom they are packed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from wavelet.errors import InvalidRequest, TooLarge
from wavelet.quantities import size as size_of
from wavelet.v1.containers_pb2 import Layer

LAYER_LIMIT = 10 * 1024 * 1024
"""Compressed bytes of a layer that travels inside a request."""

REQUEST_LIMIT = 30 * 1024 * 1024
"""Compressed bytes of all such layers of a request."""

CONTENT_LIMIT = 64 * 1024 * 1024
"""Bytes of a layer's files, before they are compressed; the daemon takes no more of all of a request's layers."""

_REMEDY = "put large files into an image and add that with --include, or mount them into the task"


def pack_all(directories: list[Path]) -> list[Layer]:
    """Return a layer for each directory.

    Raises:
        InvalidRequest: one is no directory, or has what no layer can have.
        TooLarge: one is too large, or all together.
        OSError: a file cannot be read.
    """
    layers = [pack(directory) for directory in directories]
    total = sum(layer.gzip_size for layer in layers)
    if total > REQUEST_LIMIT:
        raise TooLarge(f"--layer: {size_of(total)} compressed; {size_of(REQUEST_LIMIT)} fit into a request; {_REMEDY}")
    return layers


def pack(directory: Path) -> Layer:
    """Return a directory's content as a layer: sorted, owned by root, without times.

    Raises: as `pack_all`.
    """
    if not directory.is_dir():
        raise InvalidRequest(f"--layer: {directory} is not a directory; a layer is made of what is inside one")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _below(directory):
            _add(tar, path, path.relative_to(directory).as_posix())
            if raw.tell() > CONTENT_LIMIT:
                raise TooLarge(f"--layer: {directory} has more than {size_of(CONTENT_LIMIT)}; {_REMEDY}")
    content = raw.getvalue()
    data = _compressed(content)
    if len(data) > LAYER_LIMIT:
        message = f"--layer: {directory} has {size_of(len(data))} compressed; {size_of(LAYER_LIMIT)} fit into a request"
        raise TooLarge(f"{message}; {_REMEDY}")
    return Layer(data=data, gzip_digest=_sha256(data), gzip_size=len(data), tar_digest=_sha256(content))


def _below(directory: Path) -> Iterator[Path]:
    """Yield all that is below a directory, parents first, links not followed."""
    for path in sorted(directory.iterdir(), key=lambda path: os.fsencode(path.name)):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    found = path.lstat()
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
    elif stat.S_ISLNK(found.st_mode):
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = os.readlink(path)  # noqa: PTH115 - the text as it is; pathlib would tidy it
        tar.addfile(member)
    elif stat.S_ISREG(found.st_mode):
        if found.st_size > CONTENT_LIMIT:
            raise TooLarge(f"--layer: {path} has more than {size_of(CONTENT_LIMIT)}; {_REMEDY}")
        content = path.read_bytes()
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    else:
        raise InvalidRequest(f"--layer: {path} is no file, directory or link, so no layer can have it; remove it")


def _compressed(content: bytes) -> bytes:
    """Return bytes as gzip. `gzip.compress` has another header in Python 3.13 than in 3.11, so another digest."""
    raw = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write(content)
    return raw.getvalue()


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
