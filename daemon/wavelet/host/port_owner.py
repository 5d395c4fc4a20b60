"""The owner of a busy port, in words, as far as this user may see it."""

from __future__ import annotations

import contextlib
import pwd
from pathlib import Path

from wavelet.host.tcp_table import Owner, listening

_PROC = Path("/proc")


def describe_owner(port: int) -> str:
    """Say who listens on a TCP port of this machine, e.g. `process 812 (nginx) of user www-data`. Blocking."""
    owners = listening(port)
    if not owners:
        return "a process that cannot be seen from here"
    for owner in owners:
        if (process := _process_with(owner)) is not None:
            return f"process {process.name} ({_command(process)}) of user {_user(owner.uid)}"
    return f"a process of user {_user(owners[0].uid)}"


def _process_with(owner: Owner) -> Path | None:
    link = f"socket:[{owner.inode}]"
    for process in _PROC.iterdir():
        # Processes end meanwhile, and other users' are closed to us.
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and any(str(each.readlink()) == link for each in (process / "fd").iterdir()):
                return process
    return None


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "gone meanwhile"


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"with uid {uid}"
