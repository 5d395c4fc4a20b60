"""The writer of a layer's blob: three gzip members, directories, files and the end, hashed on both sides.

The files' member has nothing in it of which a layer may have only one, so that a shared layer is put together of the
files' members of several layers, between a member with directories and `end_member`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from wavelet.archive.gzip_members import BLOCK, Fragment, MemberWriter, codec, member
from wavelet.archive.tar_format import END, TarEntries, padding
from wavelet.errors import NoSpace
from wavelet.image.reference import Digest

_BATCH = 16 * BLOCK
"""Bytes of tar that are handed to the compressing thread at a time."""
_AHEAD = 3
"""Batches that may wait for it."""


class Outgrown(NoSpace):
    """A blob is larger than the room that was set aside for it."""

    reason = "OUTGROWN"


class Written(NamedTuple):
    """A finished blob: digest and size in bytes, the digest of its tar, and where its files are."""

    digest: Digest
    size: int
    diff_id: Digest
    fragment: Fragment


def end_member() -> bytes:
    """Return the last member of every layer."""
    return member(END)


class LayerWriter:
    """Writes one layer into a file. A context manager, with a thread that hashes and compresses meanwhile.

    Entries are given in the order in which they shall stand; each path once, and all of their parents in `directories`.
    """

    def __init__(self, path: Path, entries: TarEntries, directories: Iterable[str], room: int | None = None) -> None:
        """Begin the file `path`, of at most `room` bytes; more raise `Outgrown`."""
        self._entries = entries
        self._directories = directories
        self._blob = BlobWriter(path, room)

    def __enter__(self) -> Self:
        try:
            self._blob.write(self._entries.directories(self._directories))
            self._start = self._blob.cut()
        except BaseException:
            self._blob.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._blob.close()

    def file(self, path: str, data: bytes, mtime: int, *, executable: bool) -> None:
        """Add a file whose contents are there."""
        size = len(data)
        header = self._entries.file_header(path, size, mtime, executable=executable)
        self._blob.write(header + data + padding(size))

    def stream(self, path: str, size: int, chunks: Iterable[bytes], mtime: int, *, executable: bool) -> None:
        """Add a file of `size` bytes, which `chunks` have to come to."""
        self._blob.write(self._entries.file_header(path, size, mtime, executable=executable))
        rest = size
        for chunk in chunks:
            rest -= len(chunk)
            self._blob.write(chunk)
        if rest:
            raise ValueError(f"{path}: contents of {size - rest} bytes instead of {size}")
        self._blob.write(padding(size))

    def symlink(self, path: str, target: str, mtime: int) -> None:
        """Add a symbolic link."""
        self._blob.write(self._entries.symlink(path, target, mtime))

    def hard_link(self, path: str, to: str, mtime: int, *, executable: bool) -> None:
        """Add another name for a file that was added before."""
        self._blob.write(self._entries.hard_link(path, to, mtime, executable=executable))

    def finish(self) -> Written:
        """End the archive."""
        end = self._blob.cut()
        self._blob.write(END)
        self._blob.cut()
        start, inflated = self._start
        fragment = Fragment(start, end[0] - start, end[1] - inflated)
        return Written(*self._blob.digests(), fragment)


class BlobWriter:
    """A file of gzip members, compressed and hashed in a thread of its own: all of that leaves Python's lock."""

    def __init__(self, path: Path, room: int | None) -> None:
        """Begin the file `path`, of at most `room` bytes; more raise `Outgrown`."""
        self._room = room
        self._batch = bytearray()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compress")
        self._waiting: deque[Future[None]] = deque()
        self._file: BinaryIO = path.open("wb")
        self._tar, self._blob = hashlib.sha256(), hashlib.sha256()
        self._tar_size = self._blob_size = 0
        self._member: MemberWriter | None = None

    def write(self, data: bytes) -> None:
        """Add bytes of the tar."""
        self._batch += data
        if len(self._batch) >= _BATCH:
            whole = len(self._batch) // _BATCH * _BATCH
            batch = self._batch
            self._batch = batch[whole:]
            del batch[whole:]
            self._submit(batch, last=False)

    def cut(self) -> tuple[int, int]:
        """End a member; return how many bytes of blob and tar there are up to here."""
        batch, self._batch = self._batch, bytearray()
        self._submit(batch, last=True)
        while self._waiting:
            self._waiting.popleft().result()
        return self._blob_size, self._tar_size

    def digests(self) -> tuple[Digest, int, Digest]:
        """Return the blob's digest, its bytes, and the digest of its tar."""
        digest, diff_id = (Digest(f"sha256:{each.hexdigest()}") for each in (self._blob, self._tar))
        return digest, self._blob_size, diff_id

    def close(self) -> None:
        """End the thread, and close the file."""
        self._thread.shutdown(cancel_futures=True)
        self._file.close()

    def _submit(self, batch: bytearray, *, last: bool) -> None:
        while len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._take, batch, last))

    def _take(self, batch: bytearray, last: bool) -> None:
        self._tar.update(batch)
        self._tar_size += len(batch)
        if self._member is None:
            self._member = MemberWriter(codec())
            self._put(self._member.begin())
        view = memoryview(batch)
        for start in range(0, len(view), BLOCK):
            self._put(self._member.block(view[start : start + BLOCK]))
        if last:
            self._put(self._member.end())
            self._member = None

    def _put(self, data: bytes) -> None:
        if data:
            self._blob.update(data)
            self._blob_size += len(data)
            if self._room is not None and self._blob_size > self._room:
                raise Outgrown(f"a layer has more than the {self._room} bytes that were set aside for it")
            self._file.write(data)
