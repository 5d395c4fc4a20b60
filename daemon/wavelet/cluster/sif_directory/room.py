"""Room in the directory: which files there are, and which give way. All but `chosen` blocks.

The least recently used go, by the modification time that each use sets; none that was used within `sif.lease`. What is
removed is first moved away and looked at again: a use that came in between, on any node, brings it back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from wavelet.cluster.publish import TEMPORARY_SUFFIX
from wavelet.cluster.sif_directory.metrics import BYTES, EVICTED_BYTES, EVICTIONS, FILES
from wavelet.cluster.sif_directory.names import PRIVATE, SIF_FILE
from wavelet.cluster.sif_directory.tree import Tree, names_in, new_name, server_time
from wavelet.errors import NeverFits, NoSpace
from wavelet.quantities import is_ahead
from wavelet.quantities import size as size_text

log = structlog.get_logger()

_BLOCK = 512
"""Bytes of what `st_blocks` counts (inode(7))."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say: `limit` bytes at most, and none goes within `lease` seconds of its last use."""

    limit: int
    lease: float


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is there.

    Attributes:
        owner: the user whose it is; None: everybody's.
        file: its name.
        size: its bytes.
        used: when it was last used, in nanoseconds of the file server's clock.
    """

    owner: int | None
    file: str
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in the directory: files, and `writing` bytes of those that are being written, `missing` of them yet."""

    files: tuple[Found, ...]
    writing: int
    missing: int

    @property
    def size(self) -> int:
        """Bytes of the files in place."""
        return sum(each.size for each in self.files)


def look_through(tree: Tree) -> Usage:
    """Return what is in the directory, as far as this daemon may read it."""
    with tree.opened() as root:
        names = names_in(root)
        files = [*_files(tree, root, None)]
    for name in names:
        if private := PRIVATE.fullmatch(name):
            owner = int(private[1])
            with contextlib.suppress(OSError), tree.holding(owner) as directory:
                files += _files(tree, directory, owner)
    with tree.work() as work:
        writing = [each for name, each in _statuses(work) if name.endswith(TEMPORARY_SUFFIX)]
    missing = sum(max(0, each.st_size - each.st_blocks * _BLOCK) for each in writing)
    usage = Usage(tuple(files), sum(each.st_size for each in writing), missing)
    FILES.set(len(files))
    BYTES.set(usage.size)
    return usage


def make_room(tree: Tree, size: int, rules: Rules, what: str) -> None:
    """Remove what may go until `size` more bytes, those of the file `what`, are within the limit and on the disk.

    Raises:
        NeverFits: it is larger than the limit.
        NoSpace: what may go is not enough. Then nothing is removed.
    """
    place = f"{tree.root} (sif.directory)"
    if size > rules.limit:
        raise NeverFits(f"{what} has {size_text(size)}, and {place} may have {size_text(rules.limit)}; raise sif.limit")
    usage = look_through(tree)
    over_limit = usage.size + usage.writing + size - rules.limit
    over_disk = usage.missing + size - _free(tree)
    if max(over_limit, over_disk) <= 0:
        return
    with tree.work() as work:
        now = server_time(work)
    gone, missing = chosen(usage.files, max(over_limit, over_disk), rules.lease, now)
    if missing > 0:
        remedy = "raise sif.limit" if over_limit >= over_disk else "free its disk"
        raise NoSpace(
            f"no room for {what} in {place}: {size_text(missing)} short, and all other files there were used within"
            f" sif.lease, {rules.lease:.0f} seconds; {remedy}, or lower sif.lease"
        )
    evict(tree, gone)


def keep_within(tree: Tree, rules: Rules) -> None:
    """Remove what is over the limit and may go; and note the time of files that a wrong clock says are of tomorrow."""
    usage = look_through(tree)
    with tree.work() as work:
        now = server_time(work)
    for each in usage.files:
        if is_ahead(each.used / 1e9, now):
            with contextlib.suppress(OSError), tree.holding(each.owner) as directory:
                os.utime(each.file, dir_fd=directory, follow_symlinks=False)
    evict(tree, chosen(usage.files, usage.size + usage.writing - rules.limit, rules.lease, now)[0])


def chosen(files: Iterable[Found], excess: int, lease: float, now: float) -> tuple[list[Found], int]:
    """Return the least recently used files that may go, up to `excess` bytes, and how many they lack. Pure."""
    gone: list[Found] = []
    missing = excess
    for each in sorted(files, key=lambda file: (file.used, file.file)):
        if missing <= 0 or now - each.used / 1e9 <= lease:
            break
        gone.append(each)
        missing -= each.size
    return gone, max(0, missing)


def evict(tree: Tree, files: Iterable[Found]) -> None:
    """Remove files, but those that were used since they were looked at."""
    gone = [each for each in files if _evict(tree, each)]
    if gone:
        size = sum(each.size for each in gone)
        EVICTIONS.inc(len(gone))
        EVICTED_BYTES.inc(size)
        log.info("removed SIF files", files=len(gone), size=size, directory=str(tree.root))


def _evict(tree: Tree, file: Found) -> bool:
    with contextlib.suppress(FileNotFoundError), tree.holding(file.owner) as directory, tree.work() as work:
        aside = new_name()
        os.rename(file.file, aside, src_dir_fd=directory, dst_dir_fd=work)
        if os.stat(aside, dir_fd=work, follow_symlinks=False).st_mtime_ns != file.used:
            os.rename(aside, file.file, src_dir_fd=work, dst_dir_fd=directory)
            return False
        os.unlink(aside, dir_fd=work)
        return True
    return False  # another node was first


def _files(tree: Tree, directory: int, owner: int | None) -> Iterator[Found]:
    for name, status in _statuses(directory):
        if SIF_FILE.fullmatch(name) and tree.counts(status, owner):
            # A user can make a file of any size in his own directory; what counts is what it takes.
            size = status.st_size if owner is None else min(status.st_size, status.st_blocks * _BLOCK)
            yield Found(owner, name, size, status.st_mtime_ns)


def _statuses(directory: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False)


def _free(tree: Tree) -> int:
    with tree.opened() as root:
        info = os.fstatvfs(root)
    return info.f_bavail * info.f_frsize
