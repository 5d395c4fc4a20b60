"""Limits of programs that run in an image, in processes, memory, bytes written and time; and what they do take.

Engines bound what they can by themselves. What they cannot, or only for each process, is looked at while they run:
the processes below a sandbox's first one in /proc, and what has been written. The functions that look all block.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wavelet.directory_trees import walk

INFLATED_LIMIT = 256 * 1024**3
"""Bytes of tar that are taken of an image or container."""

ENTRY_SIZE = 4096
"""Bytes that a file or directory counts for at least: what is empty takes room in a file system, too."""

_BEYOND = 1.25
_KIB = 1024
_BLOCK = 512
_PARENT, _THREADS = 1, 17
"""Fields of /proc/<pid>/stat behind the name (proc(5))."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be taken.

    Attributes:
        processes: processes and threads at a time.
        memory: bytes of memory of all of them.
        disk: bytes that all of them write and leave.
        seconds: how long one program may take.
    """

    processes: int = 1024
    memory: int = 8 * 1000**3
    disk: int = 4 * 1000**3
    seconds: float = 900.0

    @property
    def hard(self) -> Limits:
        """What engines and the kernel bound: more than what is looked for, so that it is seen and told by name."""
        return replace(
            self,
            processes=int(self.processes * _BEYOND),
            memory=int(self.memory * _BEYOND),
            disk=int(self.disk * _BEYOND),
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What is taken at the moment, as far as it can be told; members as in `Limits`."""

    processes: int = 0
    memory: int = 0
    disk: int = 0


def taken_by(first: int) -> Usage:
    """Return what a process and all below it take; of what is written, only files that have no name any more."""
    pids = list(_below(first))
    unnamed: dict[tuple[int, int], int] = {}
    processes = memory = 0
    for pid, threads in pids:
        processes += threads
        memory += _memory(pid)
        unnamed |= _unnamed(pid)
    return Usage(processes, memory, sum(unnamed.values()))


def written_below(root: Path) -> int:
    """Return the bytes of all that is in a directory, hard links once.

    Raises:
        OSError: it cannot be read, or is deeper than what is taken from others.
    """
    seen: set[int] = set()
    size = 0
    for entry in walk(root):
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            size += max(status.st_blocks * _BLOCK, ENTRY_SIZE)
    return size


def _below(first: int) -> Iterator[tuple[int, int]]:
    """Yield the processes below one, with itself, and how many threads each has."""
    children: dict[int, list[int]] = {}
    threads: dict[int, int] = {}
    with os.scandir("/proc") as entries:
        for name in [entry.name for entry in entries if entry.name.isdecimal()]:
            if fields := _stat(name):
                children.setdefault(int(fields[_PARENT]), []).append(int(name))
                threads[int(name)] = int(fields[_THREADS])
    waiting = [first]
    while waiting:
        pid = waiting.pop()
        if pid in threads:
            yield pid, threads[pid]
        waiting += children.get(pid, ())


def _stat(pid: str) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()
    return []


def _memory(pid: int) -> int:
    """Return the bytes of a process's own memory, and its part of memory that it shares with others and no file backs.

    Pages of files do not count. If the parts cannot be told, what is shared counts whole (proc_pid_smaps(5)).
    """
    for name, members in (("smaps_rollup", (b"Pss_Anon", b"Pss_Shmem")), ("status", (b"RssAnon", b"RssShmem"))):
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = Path(f"/proc/{pid}/{name}").read_bytes().splitlines()
            values = [int(line.split()[1]) * _KIB for line in lines if line.partition(b":")[0] in members]
            if values:
                return sum(values)
    return 0


def _unnamed(pid: int) -> dict[tuple[int, int], int]:
    """Return the sizes of files that a process has open and that are in no directory any more."""
    found: dict[tuple[int, int], int] = {}
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat()
                if stat.S_ISREG(status.st_mode) and not status.st_nlink:
                    found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    return found
