"""The files of the content store: blobs in their directory, and how they are removed.

But for `path_of` and `new_aside`, all of it blocks.

A directory that programs of others have filled can take seconds to remove, or cannot be removed at all. Neither holds
up an answer, nor the start of the daemon: what is left of an earlier run is moved aside when the store is opened, and
what cannot be removed stays aside, is said at each start, and tried again then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import stat
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import structlog

from wavelet import directory_trees
from wavelet.image.reference import Digest


def changed_at(path: Path, size: int) -> int | None:
    """Return when a file was last changed, in nanoseconds of its inode's time.

    None if there is no regular file of that many bytes.

    Nothing but a clock that is set can give a file that was written to an earlier time again (inode(7), st_ctime).
    """
    # A file system that was mended after a crash may have cut a file off.
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ctime_ns if stat.S_ISREG(status.st_mode) and status.st_size == size else None


def free_bytes(path: Path) -> int:
    """Return how many bytes are free on the file system of `path`."""
    info = os.statvfs(path)
    return info.f_bavail * info.f_frsize


def make_private(path: Path) -> None:
    """Make a directory, and those above it, for the owner alone, where they are not there."""
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        make_private(path.parent)
        make_private(path)
    except FileExistsError:
        if not path.is_dir():
            raise


def check_writable(directory: Path) -> None:
    """Return if files can be made in a directory, which is made if need be.

    Raises:
        OSError: they cannot.
    """
    make_private(directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code), str(directory))


def create(path: Path) -> int:
    """Make a file that is not there yet, for reading and writing, and return its descriptor.

    Its directory is made again if something has tidied it away, as is done with `/tmp`.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_private(path.parent)
        return os.open(path, flags, 0o600)


def move_into_place(partial: Path, final: Path) -> None:
    """Rename a file, durably, into a directory that is made if need be."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    make_private(final.parent)
    partial.rename(final)
    directory = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_into_place(partial: Path, files: Mapping[Path, bytes]) -> None:
    """Write files whole, each aside in the directory `partial` and then renamed, without waiting for the disk.

    A crash of the process leaves each whole or not there; a crash of the machine may leave it with other bytes.
    """
    make_private(partial)
    for final, data in files.items():
        aside = partial / f"{final.name}.small"
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        make_private(final.parent)
        aside.rename(final)


def move_aside(path: Path, aside: Path) -> None:
    """Rename a file, if it is there, into a directory that is made if need be."""
    make_private(aside.parent)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)


log = structlog.get_logger()


class Trash:
    """A directory of what is to be removed, on the file system of what comes into it."""

    def __init__(self, directory: Path) -> None:
        """Take over a directory; what is in it will be removed."""
        self._directory = directory
        self._waiting: queue.SimpleQueue[tuple[Path, Callable[[], None]] | None] = queue.SimpleQueue()
        self._pending = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in sorted(directory.iterdir()):
            self._put(left, _nothing)

    def discard(self, path: Path, removed: Callable[[], None] | None = None) -> None:
        """Have a file or directory removed: it is gone from its place at once.

        `removed` is called once, when its bytes are free or are known to stay: in the caller's loop, if it has one.
        """
        told = _in_loop(removed or _nothing)
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # often all that was in it has gone elsewhere
                (removed or _nothing)()
                return
        except OSError:
            pass  # there is something in it
        try:
            place = self._move(path)
        except FileNotFoundError:
            (removed or _nothing)()
            return
        except OSError as error:
            log.warning("what was made cannot be moved aside, and stays", path=str(path), because=error.strerror)
            place = path
        self._put(place, told)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left to be removed; return whether that is so. Blocks."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, seconds)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be removed."""
        return not self._pending

    def close(self) -> None:
        """Begin with nothing more; what is left is removed after the next start."""
        self._waiting.put(None)

    def _move(self, path: Path) -> Path:
        place = self._directory / uuid.uuid4().hex
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)  # whoever moves a directory has to be allowed to write it
        try:
            return path.rename(place)
        except FileNotFoundError:
            # Those who tidy up may have removed the directory, as well as what is to go into it.
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return path.rename(place)

    def _put(self, path: Path, removed: Callable[[], None]) -> None:
        with self._changed:
            self._pending += 1
            self._waiting.put((path, removed))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="remove")
                self._thread.start()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            path, removed = item
            try:
                directory_trees.remove(path)
            except OSError as error:
                why = error.strerror or str(error)
                log.warning("what is left of earlier work cannot be removed, and stays", path=str(path), because=why)
            removed()
            with self._changed:
                self._pending -= 1
                self._changed.notify_all()


def _in_loop(function: Callable[[], None]) -> Callable[[], None]:
    """Return what has `function` called in the loop that runs now, if one does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return function

    def call() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and all that it counted
            loop.call_soon_threadsafe(function)

    return call


def _nothing() -> None:
    """Do nothing when it is gone."""


class BlobDirectory:
    """See the module.

    Attributes:
        aside: where files are written that are not whole yet, on the same file system.
    """

    def __init__(self, directory: Path) -> None:
        """Take over a directory, which is made if need be."""
        self._blobs = directory / "blobs"
        self.aside = directory / "partial"
        for each in (self._blobs, self.aside):
            make_private(each)

    def path_of(self, digest: Digest) -> Path:
        """Return where a blob is, or would be."""
        return Path(f"{self._blobs}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}")  # joined at once: it is hot

    def new_aside(self) -> Path:
        """Return a path aside that nothing has yet."""
        return self.aside / uuid.uuid4().hex

    def strays(self) -> Iterator[Path]:
        """Yield what an earlier run has left aside, and what has the name of a directory that blobs go to."""
        yield from self.aside.iterdir()
        yield from (path for path in [*self._blobs.glob("*"), *self._blobs.glob("*/*")] if not path.is_dir())

    def found(self) -> dict[Digest, Path]:
        """Return the files that have the name of a blob."""
        return {Digest(f"{path.parent.parent.name}:{path.name}"): path for path in self._blobs.glob("*/*/*")}

    def free(self) -> int:
        """Return how many bytes are free on the file system."""
        make_private(self.aside)
        return free_bytes(self.aside)

    def check(self) -> None:
        """Return if files can be written here.

        Raises:
            OSError: they cannot.
        """
        check_writable(self.aside)
