"""The ownership of files that decide what runs in other people's tasks: who could change one, and so act for them."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection
from pathlib import Path

from wavelet.errors import CallerError
from wavelet.host.path_entries import entries

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UnsafeOwner(CallerError):
    """Somebody else could change what only the site may write; the message has the command that mends it."""

    reason = "UNSAFE_OWNER"


def trusted_owners() -> frozenset[int]:
    """Return whose files count as the site's: root's, and those of the user whom this process runs as."""
    return frozenset({0, os.geteuid()})


def check_owned(path: Path, owners: Collection[int], what: str) -> None:
    """Return if nobody but `owners` could change a file or directory, or put another in its place. Blocking.

    It, each directory above it and each link on the way belong to one of them, and neither its group nor others may
    write to them: as sshd has it for keys (sshd_config(5), StrictModes), and like it not with regard to a directory
    above that is sticky, where others cannot rename what is not theirs. What is in a directory is not looked at.

    Args:
        path: what is checked; links are followed.
        owners: users, e.g. `trusted_owners()`.
        what: what is at stake, for the message: `the rules for everybody's containers`.

    Raises:
        UnsafeOwner: somebody else could.
        OSError: it is not there, or cannot be looked at.
    """
    on_the_way = list(entries(path))
    for number, entry in enumerate(on_the_way, 1):
        status = entry.lstat()
        if status.st_uid not in owners:
            raise _belongs_to_others(entry, status, owners, what)
        is_above = number < len(on_the_way)
        if not stat.S_ISLNK(status.st_mode) and _is_written_by_others(entry, status, is_above=is_above):
            raise _can_be_written(entry, status, what)


def _is_written_by_others(entry: Path, status: os.stat_result, *, is_above: bool) -> bool:
    if not status.st_mode & _BY_OTHERS or (is_above and status.st_mode & stat.S_ISVTX):
        return False
    # The directories that Kubernetes mounts config maps at have the mode 0777, on a mount that is read-only.
    return not (stat.S_ISDIR(status.st_mode) and os.statvfs(entry).f_flag & os.ST_RDONLY)


def _belongs_to_others(entry: Path, status: os.stat_result, owners: Collection[int], what: str) -> UnsafeOwner:
    link = "-h " if stat.S_ISLNK(status.st_mode) else ""
    owner = "root" if 0 in owners else str(min(owners))
    return UnsafeOwner(
        f"{entry} belongs to uid {status.st_uid}, who could change {what};"
        f" run: chown {link}{owner} {shlex.quote(str(entry))}"
    )


def _can_be_written(entry: Path, status: os.stat_result, what: str) -> UnsafeOwner:
    who, bits = ("anybody", "go-w") if status.st_mode & stat.S_IWOTH else ("its group", "g-w")
    return UnsafeOwner(
        f"{entry} can be written by {who}, who could change {what}; run: chmod {bits} {shlex.quote(str(entry))}"
    )
