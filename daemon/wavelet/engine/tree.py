"""A directory in a container or root file system: its entries with their contents, one after the other.

Trees are values that a worker process is given. What is read was written by programs of others: nothing of it is
followed.
"""

from __future__ import annotations

import math
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from wavelet.archive.tar_reader import CHUNK, Bounds, members_of
from wavelet.engine.limits import INFLATED_LIMIT
from wavelet.errors import EngineFailed, UpstreamBroken

READ_SECONDS = 600.0
"""How long an engine may take to hand a directory out."""


class Entry(Protocol):
    """One entry of a tree; see `tar_reader.Member`. `path` is relative to the directory, empty for the directory."""

    path: str
    size: int
    mtime: int
    executable: bool
    target: str
    is_file: bool
    is_symlink: bool
    is_hard_link: bool
    is_directory: bool

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents of a file, once."""


class Tree(Protocol):
    """A directory that can be read more than once."""

    def entries(self, below: str = "") -> Iterator[Entry]:
        """Yield all entries of the directory `below`, parents before children; contents until the next one."""


@dataclass(frozen=True, slots=True)
class CommandTree:
    """A directory in a container whose engine has a command that prints a directory as a tar.

    Attributes:
        argv: that command, up to the directory.
        container: its name.
        directory: the absolute path of the directory in it.
    """

    argv: tuple[str, ...]
    container: str
    directory: str

    def entries(self, below: str = "") -> Iterator[Entry]:
        """See `Tree`.

        Raises:
            EngineFailed: the command fails, or takes longer than `READ_SECONDS`.
        """
        place = f"{self.directory}/{below}".rstrip("/")
        command = [*self.argv, f"{self.container}:{place}", "-"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            timer = threading.Timer(READ_SECONDS, process.kill)
            timer.start()
            try:
                yield from _entries(process.stdout, below)
            except UpstreamBroken as error:
                raise self._failed(process, error.message) from None
            finally:
                timer.cancel()
                process.kill()
            if process.wait() > 0:
                raise self._failed(process, "it ended early")

    def _failed(self, process: subprocess.Popen[bytes], why: str) -> EngineFailed:
        process.kill()
        assert process.stderr is not None
        said = process.stderr.read(2000).decode("utf-8", "replace").strip()
        return EngineFailed(f"{self.argv[0]} does not hand out {self.directory} of a container: {said or why}")


def _entries(raw: IO[bytes] | None, below: str) -> Iterator[Entry]:
    assert raw is not None
    for entry in members_of(raw, Bounds(INFLATED_LIMIT, UpstreamBroken, members=math.inf)):
        entry.path = _below(entry.path, below)
        if entry.is_hard_link:
            entry.target = _below(entry.target, below)
        yield entry


def _below(path: str, below: str) -> str:
    """Return a path of a tar that begins with the directory's own name, relative to the whole tree's."""
    inner = path.strip("/").partition("/")[2]
    return f"{below}/{inner}".strip("/")


@dataclass(frozen=True, slots=True)
class DirectoryTree:
    """A directory in a root file system that is a directory of this machine. Nothing else may change it meanwhile.

    Attributes:
        root: the root file system.
        directory: the absolute path of the directory in it.
    """

    root: Path
    directory: str

    def entries(self, below: str = "") -> Iterator[Entry]:
        """See `Tree`.

        Raises:
            EngineFailed: what should be a directory on the way to it is none.
        """
        place = self.root
        for part in Path(self.directory.strip("/"), below).parts:
            place /= part
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise EngineFailed(f"/{place.relative_to(self.root)} in the image is a link and no directory")
        return self._walk(place, below)

    def _walk(self, top: Path, below: str) -> Iterator[Entry]:
        seen: dict[tuple[int, int], str] = {}
        waiting = [(top, below)]
        while waiting:
            place, path = waiting.pop()
            entry = OnDisk(place, path, seen)
            yield entry
            if not entry.is_directory:
                continue
            # Programs may have taken rights from themselves that the owner needs.
            place.chmod(0o755)
            children = sorted(place.iterdir(), reverse=True)
            waiting += [(child, f"{path}/{child.name}".lstrip("/")) for child in children]


class OnDisk:
    """An entry that is a file, link or directory of this machine; `seen` knows the inodes that came before it."""

    def __init__(self, file: Path, path: str, seen: dict[tuple[int, int], str]) -> None:
        status = file.lstat()
        regular = stat.S_ISREG(status.st_mode)
        first = seen.setdefault((status.st_dev, status.st_ino), path) if regular and status.st_nlink > 1 else path
        self._file = file
        self._mode = status.st_mode
        self.path = path
        self.size = status.st_size
        self.mtime = int(status.st_mtime)
        self.executable = bool(status.st_mode & 0o111)
        self.is_hard_link = first != path
        self.is_file = regular and not self.is_hard_link
        self.is_symlink = stat.S_ISLNK(status.st_mode)
        self.is_directory = stat.S_ISDIR(status.st_mode)
        self.target = str(file.readlink()) if self.is_symlink else first * self.is_hard_link

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents of a file."""
        if not self._mode & stat.S_IRUSR:
            self._file.chmod(0o755 if self.executable else 0o644)
        with self._file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                yield chunk
