"""The prefix in a container or directory: its entries with their contents, one after the other.

Trees are values that a worker process is given. What is read was written by scripts: nothing of it is followed.
"""

from __future__ import annotations

import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from wavelet.archive.forward_tar import CHUNK, Raw, members_of
from wavelet.errors import EngineFailed, UpstreamBroken
from wavelet.plan.conda import PREFIX

READ_SECONDS = 600.0
"""How long an engine may take to hand a prefix out."""


class Entry(Protocol):
    """One entry of a tree; see `engine_tar.Member`. `path` is relative to the prefix, empty for the prefix itself."""

    path: str
    size: int
    mtime: int
    executable: bool
    target: str
    is_file: bool
    is_symlink: bool
    is_hard_link: bool
    is_directory: bool

    @property
    def chunks(self) -> Callable[[], Iterator[bytes]]:
        """Yields the contents of a file, once."""


class Tree(Protocol):
    """A prefix that can be read more than once."""

    def entries(self, below: str = "") -> Iterator[Entry]:
        """Yield all entries of the directory `below`, parents before children; contents until the next one."""


@dataclass(frozen=True, slots=True)
class CommandTree:
    """The prefix in a container whose engine has a command that prints a directory as a tar.

    Attributes:
        argv: that command, up to the directory.
        container: its name.
    """

    argv: tuple[str, ...]
    container: str

    def entries(self, below: str = "") -> Iterator[Entry]:
        """See `Tree`.

        Raises:
            EngineFailed: the command fails, or takes longer than `READ_SECONDS`.
        """
        place = f"{PREFIX}/{below}".rstrip("/")
        command = [*self.argv, f"{self.container}:{place}", "-"]
        with subprocess.Popen(  # noqa: S603 - the site's own engine, with a name that was made here
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            timer = threading.Timer(READ_SECONDS, process.kill)
            timer.start()
            try:
                raw = cast(IO[bytes], process.stdout)
                for entry in members_of(cast(Raw, raw), UpstreamBroken):
                    entry.path = _below(entry.path, below)
                    if entry.is_hard_link:
                        entry.target = _below(entry.target, below)
                    yield entry
                raw.read()
            except UpstreamBroken as error:
                raise self._failed(process, error.message) from None
            finally:
                timer.cancel()
                process.kill()
            if process.wait() > 0:
                raise self._failed(process, "it ended early")

    def _failed(self, process: subprocess.Popen[bytes], why: str) -> EngineFailed:
        process.kill()
        said = cast(IO[bytes], process.stderr).read(2000).decode("utf-8", "replace").strip()
        return EngineFailed(f"{self.argv[0]} does not hand out {PREFIX} of a container: {said or why}")


def _below(path: str, below: str) -> str:
    """Return a path of a tar that begins with the directory's own name, relative to the prefix."""
    inner = path.strip("/").partition("/")[2]
    return f"{below}/{inner}".strip("/")


@dataclass(frozen=True, slots=True)
class DirectoryTree:
    """The prefix in a root file system that is a directory of this machine. Nothing else may change it meanwhile."""

    root: Path

    def entries(self, below: str = "") -> Iterator[Entry]:
        """See `Tree`.

        Raises:
            EngineFailed: what should be a directory on the way to it is none.
        """
        place = self.root
        for part in Path(PREFIX.strip("/"), below).parts:
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
            # Scripts may have taken rights from themselves that the owner needs.
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
