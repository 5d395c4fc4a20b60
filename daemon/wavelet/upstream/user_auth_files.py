"""A user's auth files on this machine: where they may be, whether they have changed, and reading them as that user.

All of it blocks: a home directory can be on a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from wavelet.upstream import read_auth_files

READ_TIMEOUT = 10.0
"""Seconds that looking at or reading a user's files may take."""

UNSEEN_LIFETIME = 60
"""Seconds after which files are read again that the daemon itself cannot look at (homes on NFS, closed to root)."""


def is_readable(uid: int) -> bool:
    """Tell whether this daemon can take on `uid` at all."""
    return os.geteuid() in (0, uid)


def paths_of(uid: int) -> list[str]:
    """Return where `uid` may have auth files, first those that go first. Blocks: it asks the user database.

    What this process's own environment says (HOME, DOCKER_CONFIG, ...) counts for its own user, also for a uid that the
    user database does not know, as containers have them.
    """
    own = os.environ if uid == os.geteuid() else {}
    homes = [Path(own["HOME"])] if own.get("HOME") else []
    with contextlib.suppress(KeyError):
        homes.append(Path(pwd.getpwuid(uid).pw_dir))
    if not homes and not own:
        return []
    runtime = Path(own.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    places = [
        *_set_or(own, "REGISTRY_AUTH_FILE", [], ""),
        *_set_or(own, "DOCKER_CONFIG", [home / ".docker" for home in homes], "config.json"),
        runtime / "containers/auth.json",
        *_set_or(own, "XDG_CONFIG_HOME", [home / ".config" for home in homes], "containers/auth.json"),
        *(home / f".{name}/docker-config.json" for home in homes for name in ("apptainer", "singularity")),
    ]
    return [str(place) for place in dict.fromkeys(places) if place.is_absolute()]


def _set_or(own: Mapping[str, str], variable: str, usual: list[Path], inside: str) -> list[Path]:
    return [directory / inside for directory in ([Path(own[variable])] if own.get(variable) else usual)]


def fingerprint(uid: int) -> str:
    """Return what changes with the files of `uid`, as far as this process can see; empty if there are none. Blocks."""
    seen: list[str] = []
    for path in paths_of(uid):
        for look in (os.lstat, os.stat):  # a link changes with what it leads to, in Kubernetes by a link on its way
            try:
                status = look(path)
            except (FileNotFoundError, NotADirectoryError):
                break
            except OSError:
                # It may be there for the user: what cannot be seen counts as changed after a while.
                seen.append(f"{path} {time.time() // UNSEEN_LIFETIME}")
                break
            kind = stat.S_IFMT(status.st_mode)
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            seen.append(f"{path} {kind} {status.st_uid} {status.st_dev} {status.st_ino} {status.st_size} {times}")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:32] if seen else ""


def read(uid: int) -> list[dict[str, str]]:
    """Read the files of `uid`, in a process that is that user where it is another one. Blocks.

    Returns:
        As `read_auth_files`: for each that is there its `path`, and its `text` or an `error`.
    """
    paths = paths_of(uid)
    if uid == os.geteuid():
        return [entry for path in paths if (entry := read_auth_files.read(path, uid)) is not None]
    group = pwd.getpwuid(uid).pw_gid
    command = [sys.executable, "-I", "-S", read_auth_files.__file__, str(uid), str(group), *paths]
    try:
        done = subprocess.run(  # noqa: S603 - our own program, with numbers and paths of the user database
            command, stdin=subprocess.DEVNULL, capture_output=True, env={}, cwd="/", timeout=READ_TIMEOUT, check=True
        )
        entries: list[dict[str, str]] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = "it took too long" if isinstance(error, subprocess.TimeoutExpired) else "the reader failed"
        return [{"path": f"the auth files of uid {uid}", "error": why}]
    return entries
