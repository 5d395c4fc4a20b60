"""The directories, opened one below the other: no link is followed in what others may write to. All of it blocks.

What is in a directory that many can write to proves nothing by its name. Each step is made relative to a directory that
is open already (openat(2)), a link is an error, and what is found counts only if it belongs to whom it should.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wavelet.cluster.publish import TEMPORARY_SUFFIX, sync_directory
from wavelet.cluster.sif_directory.names import private_directory
from wavelet.config import ConfigError

FIELD = "sif.directory"

WORK = ".wavelet"
"""The directory, in the shared one, of what the daemons need: nobody but them can read or write it."""

MODE = 0o755
PRIVATE_MODE = 0o700

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_DIRECTORY = frozenset({errno.ELOOP, errno.ENOTDIR})
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory that can be used.

    Attributes:
        root: its path, the same on all nodes.
        owners: the uids that its files have which daemons write: root, this daemon's own, and the one that the file
            server gives it instead (`root_squash` of exports(5)). What belongs to others counts for nothing.
    """

    root: Path
    owners: frozenset[int]

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the directory itself. An NFS client looks at it afresh by that."""
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def work(self) -> Iterator[int]:
        """Open the directory of what the daemons need, which is made if need be.

        Raises:
            OSError: something else has its name, or it is not theirs.
        """
        with self.opened() as root:
            with contextlib.suppress(FileExistsError):
                os.mkdir(WORK, PRIVATE_MODE, dir_fd=root)
            with opened_directory(WORK, root) as work:
                status = os.fstat(work)
                if status.st_uid not in self.owners:
                    raise OSError(errno.EPERM, f"it belongs to the user {status.st_uid}, not to the daemon", WORK)
                if status.st_mode & _BY_OTHERS:
                    raise OSError(errno.EPERM, "others may write to it; remove it, it is made anew", WORK)
                yield work

    @contextlib.contextmanager
    def holding(self, owner: int | None) -> Iterator[int]:
        """Open the directory that has the files of a user, or those of everybody (None).

        Raises:
            OSError: it is not there, or not that user's own and closed to all others.
        """
        with self.opened() as root:
            if owner is None:
                yield root
                return
            name = private_directory(owner)
            with opened_directory(name, root) as private:
                if not _is_private(private, owner):
                    raise OSError(errno.EPERM, f"it is not the user {owner}'s own, closed to all others", name)
                yield private

    def counts(self, status: os.stat_result, owner: int | None) -> bool:
        """Tell whether something is a file that daemons have written: for a user, or for everybody (None).

        It has one name: with a link, others could give a file of ours the name of another one. In his own directory a
        user may do as he likes.
        """
        if not stat.S_ISREG(status.st_mode):
            return False
        if owner is not None:
            return status.st_uid == owner
        return status.st_uid in self.owners and status.st_nlink == 1 and not status.st_mode & _BY_OTHERS

    def make_private(self, owner: int) -> bool:
        """Make the directory of a user's own files if need be; tell whether it is there, and nobody else's.

        root makes it for anybody, unless the file server does not let it (`root_squash`); other daemons for themselves.
        """
        if os.geteuid() not in (0, owner):
            return False
        name = private_directory(owner)
        with self.opened() as root:
            try:
                os.mkdir(name, PRIVATE_MODE, dir_fd=root)
                made = True
            except FileExistsError:
                made = False
            usable = False
            try:
                usable = self._hand_over(name, root, owner)
            finally:
                if made and not usable:
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=root)
            if made and usable:
                os.fsync(root)
        return usable

    def _hand_over(self, name: str, root: int, owner: int) -> bool:
        """Give a directory to its user if it is still the daemon's; tell whether it is that user's alone."""
        try:
            with opened_directory(name, root) as private:
                # One that is the daemon's was left by a crash, or has just been made.
                if os.fstat(private).st_uid in self.owners - {owner}:
                    os.fchown(private, owner, -1)
                return _is_private(private, owner)
        except OSError as error:
            if error.errno in _NO_DIRECTORY | {errno.EPERM, errno.EACCES, errno.EINVAL}:
                return False
            raise

    def check(self) -> None:
        """Return if files can be written.

        Raises:
            OSError: they cannot.
        """
        with self.work() as work:
            server_time(work)


@contextlib.contextmanager
def opened_directory(name: str, parent: int) -> Iterator[int]:
    """Open a directory in another one that is open.

    Raises:
        OSError: it cannot be opened, or is none; a link to one is none.
    """
    try:
        directory = os.open(name, _OPEN_DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno in _NO_DIRECTORY:
            raise OSError(errno.ENOTDIR, "it is no directory; remove it", name) from None
        raise
    try:
        yield directory
    finally:
        os.close(directory)


def new_name() -> str:
    """Return a name that nothing has, of a file that is not to stay."""
    return f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"


def create(name: str, directory: int) -> int:
    """Make a file that is not there yet and return its descriptor, for writing and reading."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=directory)


def touched(name: str, directory: int) -> os.stat_result:
    """Make a file, have the file server set its time to now, remove it, and return what it was."""
    file = create(name, directory)
    try:
        os.utime(file)
        return os.fstat(file)
    finally:
        os.close(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def server_time(work: int) -> float:
    """Return now, in unix seconds, by the clock that gives files their times: the file server's, not this node's."""
    return touched(new_name(), work).st_mtime


def names_in(directory: int) -> list[str]:
    """Return the names in an open directory."""
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def remove(name: str, directory: int) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def prepare(root: Path) -> Tree:
    """Make a directory if need be, and return it if it can be used.

    Raises:
        ConfigError: it cannot, and why.
    """
    try:
        _make(root)
        tree = Tree(root, _owners(root))
        tree.check()
    except OSError as error:
        place = root / str(error.filename or "")  # a name of something in it, or an absolute path
        why = f"{place} cannot be used: {error.strerror}; make {root}, writable for the daemon's user"
        raise _refusal(why) from None
    return tree


def _owners(root: Path) -> frozenset[int]:
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(directory)
        mine = touched(f".{new_name()}", directory).st_uid
        if status.st_uid not in (0, os.geteuid(), mine):
            raise _refusal(f"{root} belongs to the user {status.st_uid}, who could rename its files; make one below it")
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise _refusal(f"everybody may write to {root}, and so remove and replace its files; chmod o-w or +t it")
        if os.geteuid() == 0 and not status.st_mode & (stat.S_IXGRP | stat.S_IXOTH):
            raise _refusal(f"nobody but its owner may read {root}, and tasks run as others; chmod 755 it")
    finally:
        os.close(directory)
    return frozenset({0, os.geteuid(), mine})


def _make(root: Path) -> None:
    if root.is_dir():
        return
    _make(root.parent)
    with contextlib.suppress(FileExistsError):
        root.mkdir(MODE)
        root.chmod(MODE)  # whatever the umask is
    sync_directory(root.parent)


def _is_private(directory: int, owner: int) -> bool:
    status = os.fstat(directory)
    return status.st_uid == owner and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _refusal(message: str) -> ConfigError:
    return ConfigError(f"{FIELD}: {message}", field=FIELD)
