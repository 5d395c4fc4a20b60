"""A file while it is written: in the daemons' own directory, until it is whole and on the disk. All of it blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from wavelet.cluster.sif_directory.tree import Tree, create, remove
from wavelet.errors import DirectoryUnavailable, OurError
from wavelet.upstream.file_ranges import FileRange, Piece

FILE_MODE = 0o644
PRIVATE_FILE_MODE = 0o600

AT_ONCE = 16 * 1024 * 1024
"""Bytes of one call to the kernel, after which it is looked whether the file is still wanted."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Target:
    """What a file is to become: its name, whose it is (None: everybody's), and its bytes."""

    file: str
    owner: int | None
    size: int


class Writing:
    """One file. Its methods are called one after the other, in any thread; `drop` at any time, and last."""

    def __init__(self, tree: Tree, name: str, target: Target) -> None:
        """Begin: `name` is that of the temporary file. Its size is there at once, so that other nodes count it.

        Raises:
            OSError: it cannot be made; nothing is left of it.
        """
        self._tree = tree
        self._name = name
        self._target = target
        self._written = 0
        self._dropped = False
        self._busy = threading.Lock()
        with tree.work() as work:
            self._file = create(name, work)
            try:
                os.ftruncate(self._file, target.size)
            except OSError:
                os.close(self._file)
                remove(name, work)
                raise

    def add(self, piece: Piece) -> None:
        """Write what comes next.

        Raises:
            OurError: it cannot be read, or ends too early.
            OSError: it cannot be written.
        """
        with self._busy:
            if isinstance(piece, bytes):
                self._write(piece)
            else:
                self._copy(piece)

    def finish(self) -> None:
        """Give the file its name, whole and on the disk.

        Raises:
            OurError: it has not as many bytes as it should.
            DirectoryUnavailable: another node has taken over, and removed what was written.
            OSError: the file system refuses.
        """
        with self._busy:
            self._check()
            if self._written != self._target.size:
                raise OurError(f"{self._target.file} should have {self._target.size} bytes, and {self._written} came")
            private = self._target.owner is not None
            if self._target.owner not in (None, os.fstat(self._file).st_uid):
                os.fchown(self._file, self._target.owner or 0, -1)
            os.fchmod(self._file, PRIVATE_FILE_MODE if private else FILE_MODE)
            os.utime(self._file)
            os.fsync(self._file)
            with self._tree.holding(self._target.owner) as directory, self._tree.work() as work:
                self._name_it(directory, work)
                os.fsync(directory)

    def drop(self) -> None:
        """Write no more, and remove what has no name yet."""
        self._dropped = True
        with self._busy:
            os.close(self._file)
            with self._tree.work() as work:
                remove(self._name, work)

    def _name_it(self, directory: int, work: int) -> None:
        try:
            os.rename(self._name, self._target.file, src_dir_fd=work, dst_dir_fd=directory)
        except FileNotFoundError:
            # NFS may lose an answer and ask again.
            with contextlib.suppress(FileNotFoundError):
                standing = os.stat(self._target.file, dir_fd=directory, follow_symlinks=False)
                if os.path.samestat(standing, os.fstat(self._file)):
                    return
            message = (
                f"another node has taken over {self._target.file}, as this one did not show for too long; ask again"
            )
            raise DirectoryUnavailable(message) from None

    def _copy(self, piece: FileRange) -> None:
        """Have the kernel copy, which may share the blocks or leave it to the file server; else read and write."""
        offset, end = piece.offset, piece.offset + piece.size
        ways: list[Callable[[int, int, int], int]] = [self._copy_range, self._send_file]
        while offset < end:
            self._check()
            size = min(AT_ONCE, end - offset)
            if not ways:
                size = self._read_and_write(piece.fd, offset, size)
            else:
                size = _moved(ways[0], piece.fd, offset, size)
                if not size:
                    ways.pop(0)
                self._written += size
            offset += size

    def _copy_range(self, source: int, offset: int, size: int) -> int:
        return os.copy_file_range(source, self._file, size, offset_src=offset)

    def _send_file(self, source: int, offset: int, size: int) -> int:
        return os.sendfile(self._file, source, offset, size)

    def _read_and_write(self, source: int, offset: int, size: int) -> int:
        try:
            data = os.pread(source, size, offset)
        except OSError as error:
            raise OurError(f"what {self._target.file} is made of cannot be read: {error.strerror}") from error
        if not data:
            raise OurError(f"what {self._target.file} is made of has ended {size} bytes too early")
        self._write(data)
        return len(data)

    def _write(self, data: bytes) -> None:
        self._check()
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self._written += written
            left = left[written:]

    def _check(self) -> None:
        if self._dropped:
            raise OurError(f"{self._target.file} is no longer written")


def _moved(way: Callable[[int, int, int], int], source: int, offset: int, size: int) -> int:
    """Return how many bytes the kernel has copied; 0: it does not do it in this way, for these files."""
    try:
        return way(source, offset, size)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return 0
