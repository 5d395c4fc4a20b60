"""Claims as files: who makes a SIF file now, on whichever node. All of it blocks.

    .wavelet/<name>.claim            who has it, as JSON; its modification time moves as long as its holder lives
    .wavelet/<name>.<id>.tmp         what the holder with this id has written yet
    .wavelet/<name>.<id>.taken.tmp   his claim is being taken away by another

A claim saves work and no more: two who make the same file write into files of their own, and whoever renames last has
the same bytes. So it need not be beyond doubt who is dead.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wavelet.cluster.publish import TEMPORARY_SUFFIX
from wavelet.cluster.sif_directory.tree import Tree, create, names_in, remove, server_time

SUFFIX = ".claim"

LEFTOVER_AGE = 3600.0
"""Seconds after which a claim was left by a crash whose time does not move, or a temporary file without a claim."""

TAKING_AGE = 60.0
"""Seconds after which who takes a claim away, which takes a moment, has died over it."""

_TAKING = f".taken{TEMPORARY_SUFFIX}"
_CLAIM_LIMIT = 4096
_WRITTEN = re.compile(rf"(?P<claim>.+)\.(?P<id>[0-9a-f]{{32}}){re.escape(TEMPORARY_SUFFIX)}")
_GONE = frozenset({"Z", "X", "x"})
"""States of a process that has ended (proc_pid_stat(5))."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds a claim.

    Attributes:
        id: of this claim alone, 32 hexadecimal digits.
        host: the node's name, for people.
        space: where `pid` counts: the running kernel, and its space of process numbers.
        pid: the process.
        started: when it started, in that kernel's ticks; another one may get its number.
    """

    id: str
    host: str
    space: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return this process, with a new claim."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), _space(), pid, _start_of(pid) or "")

    def has_ended(self) -> bool:
        """Tell whether it is known to be dead; of other nodes nothing is known."""
        return self.space == _space() and _start_of(self.pid) != self.started


NOBODY = Holder("", "", "", 0, "")
"""The holder of a claim that cannot be read (yet)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A claim as it was found: its holder, and its time in nanoseconds of the file server's clock."""

    holder: Holder
    time: int


def written_name(claim: str, holder: Holder) -> str:
    """Return the name of the file that a holder writes."""
    return f"{claim}.{holder.id}{TEMPORARY_SUFFIX}"


def take(tree: Tree, claim: str, holder: Holder) -> Standing | None:
    """Take a claim; return the one that stands if it is another's."""
    with tree.work() as work:
        while True:
            try:
                file = create(claim + SUFFIX, work)
                break
            except FileExistsError:
                standing = _look(claim, work)
                if standing is not None:
                    return standing
                # It was given back in between, and is nobody's.
        with os.fdopen(file, "wb") as made:
            made.write(msgspec.json.encode(holder))
        return None


def keep(tree: Tree, claim: str, holder: Holder) -> bool:
    """Have the claim's time move; tell whether it is still this holder's."""
    with tree.work() as work, contextlib.suppress(FileNotFoundError):
        file = os.open(claim + SUFFIX, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=work)
        try:
            if _read(file) == holder:
                os.utime(file)
                return True
        finally:
            os.close(file)
    return False


def release(tree: Tree, claim: str, holder: Holder) -> None:
    """Give a claim back, if it is still this holder's."""
    with tree.work() as work:
        standing = _look(claim, work)
        if standing is not None and standing.holder == holder:
            remove(claim + SUFFIX, work)


def age(tree: Tree, standing: Standing) -> float:
    """Return for how many seconds a claim's time has not moved, by the file server's clock."""
    with tree.work() as work:
        return server_time(work) - standing.time / 1e9


def take_away(tree: Tree, claim: str, holder: Holder) -> bool:
    """Remove a claim of a holder who is taken for dead, and what he has written; tell whether this was done now.

    Of several who do it at once one does: who makes a file that is named after that holder. So a claim that another has
    taken since is not hit.
    """
    taking = f"{claim}.{holder.id}{_TAKING}"
    with tree.work() as work:
        try:
            os.close(create(taking, work))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                begun = os.stat(taking, dir_fd=work, follow_symlinks=False).st_mtime
                if server_time(work) - begun > TAKING_AGE:
                    remove(taking, work)  # who did it has died over it
            return False
        try:
            standing = _look(claim, work)
            if standing is None or standing.holder != holder:
                return False
            remove(claim + SUFFIX, work)
            remove(written_name(claim, holder), work)
            return True
        finally:
            remove(taking, work)


def sweep(tree: Tree) -> None:
    """Remove what crashes have left: at the start, and now and then."""
    with tree.work() as work:
        now = server_time(work)
        names = names_in(work)
        claims = {
            name.removesuffix(SUFFIX): _look(name.removesuffix(SUFFIX), work) for name in names if name.endswith(SUFFIX)
        }
    for claim, standing in claims.items():
        if standing is not None and (standing.holder.has_ended() or now - standing.time / 1e9 > LEFTOVER_AGE):
            take_away(tree, claim, standing.holder)
    with tree.work() as work:
        for name in names:
            if name.endswith(TEMPORARY_SUFFIX) and not _is_held(name, claims):
                with contextlib.suppress(FileNotFoundError):
                    if now - os.stat(name, dir_fd=work, follow_symlinks=False).st_mtime > LEFTOVER_AGE:
                        os.unlink(name, dir_fd=work)


def _is_held(name: str, claims: dict[str, Standing | None]) -> bool:
    """Tell whether a temporary file is of a claim that stands."""
    written = _WRITTEN.fullmatch(name)
    standing = claims.get(written["claim"]) if written else None
    return written is not None and standing is not None and standing.holder.id == written["id"]


def _look(claim: str, work: int) -> Standing | None:
    """Return a claim. It is opened, for an NFS client then asks for its time instead of remembering one."""
    try:
        file = os.open(claim + SUFFIX, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=work)
    except FileNotFoundError:
        return None
    try:
        return Standing(_read(file), os.fstat(file).st_mtime_ns)
    finally:
        os.close(file)


def _read(file: int) -> Holder:
    try:
        return msgspec.json.decode(os.pread(file, _CLAIM_LIMIT, 0), type=Holder)
    except msgspec.DecodeError:
        return NOBODY


@functools.cache
def _space() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def _start_of(pid: int) -> str | None:
    """Return when a process started, in ticks of the kernel; None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name is in parentheses and may have any character; state is the third field, and this the 22nd.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in _GONE else fields[18]
