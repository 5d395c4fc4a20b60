"""`wavelet uninstall`: everything that wavelet has written on this machine for this user: shown, and removed if wanted.

Only what wavelet writes is removed, by name: a state directory that somebody has named may hold other things too. What
people have put there by hand, and what other nodes use, is named and left.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wavelet.cli.argument_types import port
from wavelet.cli.setup.left import set_up
from wavelet.cli.user_daemon.daemon import (
    FAILURE,
    LOG,
    RUN_LOCK,
    RUN_MARK,
    START_LOCK,
    STATE,
    VARIABLES,
    DaemonLocation,
    daemon_status,
    location_of,
)
from wavelet.cli.user_daemon.stop import stop_daemon
from wavelet.cluster.key import KEY_NAME
from wavelet.config import Settings, Source
from wavelet.config.source import files_of
from wavelet.directory_trees import remove, size_of
from wavelet.errors import NotStarted
from wavelet.paths import ADMIN_SOCKET, SYSTEM_DIRECTORY, USER_SOCKET
from wavelet.quantities import size

IN_STATE = (
    "blobs",
    "grpc",
    "partial",
    "trash",
    "trees",
    "solver",
    "pip",
    "node.db*",
    "records.db*",
    "hosted.db*",
    "audit.log*",
    "lock",
    KEY_NAME,
    USER_SOCKET,
    ADMIN_SOCKET,
)
"""What a daemon writes into its state directory."""

IN_PRIVATE = (
    STATE, "cache", START_LOCK, f"{LOG}*", FAILURE, VARIABLES, RUN_LOCK, RUN_MARK, USER_SOCKET, ADMIN_SOCKET,
)  # fmt: skip
"""What `wavelet ensure` and `wavelet run` write into their directory."""

TEMPORARY = "wavelet-*"
"""Directories for temporary files; a process that was killed leaves them."""

EXIT_ARGUMENTS = 2


@dataclass(frozen=True, slots=True)
class Item:
    """Something on this machine; `size` in bytes, of all that is below it; `why` it is left, if it is."""

    path: Path
    size: int
    why: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--dry-run", action="store_true", help="show it, and remove nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the daemon's file of settings")
    parser.add_argument("--state", metavar="DIR", help="the daemon's state directory")
    parser.add_argument("--port", type=port, metavar="PORT", help="port of this user's own daemon (from the uid)")
    parser.add_argument("--directory", metavar="DIR", help="directory of this user's own daemon (/tmp/wavelet-UID)")


def run(options: argparse.Namespace) -> int:
    """Show what is there; remove it when that is confirmed.

    Raises:
        ConfigError: the settings cannot be read.
        NotStarted: a daemon still runs that this command does not end.
    """
    source = Source(options.config, os.environ, {"state": options.state} if options.state else {})
    settings = source.read()
    location = location_of(os.environ, options.directory, options.port)
    written = list(written_by(location, settings))
    left = list(left_alone(location, settings, source.file))
    _show("written by wavelet:", written)
    _show("left, for it is yours or shared with other nodes:", left)
    if options.dry_run or not written:
        return 0
    if not options.yes and not _confirmed():
        return EXIT_ARGUMENTS
    _end_daemons(location, written)
    for item in written:
        _remove(item.path)
    for directory in (location.directory, location.sockets, str(settings.state_directory), SYSTEM_DIRECTORY):
        with contextlib.suppress(OSError):  # something else is in it, or it was never there
            Path(directory).rmdir()
    _say(f"removed {size(sum(item.size for item in written))}")
    return 0


def written_by(location: DaemonLocation, settings: Settings) -> Iterator[Item]:
    """Yield what wavelet has written, each once. Blocking."""
    runtime = Path(SYSTEM_DIRECTORY)
    found = [
        *_below(Path(location.directory), IN_PRIVATE, location.uid),
        *_below(Path(location.sockets), (USER_SOCKET, ADMIN_SOCKET), location.uid),
        *_below(settings.state_directory, IN_STATE, location.uid),
        *_below(runtime, (USER_SOCKET, ADMIN_SOCKET), location.uid),
    ]
    private = {Path(location.directory), Path(location.sockets)}
    temporary = _below(Path(tempfile.gettempdir()), (TEMPORARY,), location.uid)
    found += [path for path in temporary if path not in private and _is_left_over(path)]
    for path in dict.fromkeys(found):
        yield Item(path, size_of(path))


def left_alone(location: DaemonLocation, settings: Settings, file: Path | None) -> Iterator[Item]:
    """Yield what has to do with wavelet and is not its own to remove. Blocking."""
    if settings.records.directory:
        directory = Path(settings.records.directory)
        yield Item(directory, size_of(directory), "other nodes use it; without it no name works any more")
    if settings.sif.directory:
        directory = Path(settings.sif.directory)
        yield Item(directory, size_of(directory), "other nodes use it, and tasks that run")
    for path in [] if file is None else files_of(file):
        yield Item(path, size_of(path), "your settings")
    home = Path(os.environ.get("HOME") or Path.home())
    by_hand = (
        (home / ".config/systemd/user", "systemctl --user disable --now wavelet, then remove it"),
        (Path("/etc/systemd/system"), "systemctl disable --now wavelet, then remove it"),
    )
    for folder, remedy in by_hand:
        for name in ("wavelet.service", "wavelet.socket"):
            if (folder / name).exists():
                yield Item(folder / name, size_of(folder / name), remedy)
    for path, remedy in set_up(os.environ):
        yield Item(path, size_of(path), f"what an engine was told; {remedy}")
    for path in _below(Path(location.directory), ("*",), location.uid):
        if not any(path.match(pattern) for pattern in IN_PRIVATE):
            yield Item(path, size_of(path), "not wavelet's")


def _below(directory: Path, patterns: tuple[str, ...], uid: int) -> list[Path]:
    """Return this user's own entries of a directory, no links."""
    with contextlib.suppress(OSError):
        if directory.is_symlink():
            return []
        paths = sorted({path for pattern in patterns for path in directory.glob(pattern)})
        return [path for path in paths if not path.is_symlink() and path.lstat().st_uid == uid]
    return []


def _is_left_over(path: Path) -> bool:
    """Tell whether a temporary directory is one that wavelet makes: `wavelet-` and eight letters, with a word maybe."""
    *_, last = path.name.removeprefix("wavelet-").split("-")
    return path.is_dir() and len(last) == _RANDOM_LETTERS and not last.isdecimal()


_RANDOM_LETTERS = 8
"""What `tempfile.mkdtemp` makes a name of."""


def _end_daemons(location: DaemonLocation, written: list[Item]) -> None:
    status = daemon_status(location)
    if status is not None and not stop_daemon(location, int(status["pid"])):
        raise NotStarted(f"the daemon (process {status['pid']}) has not ended; end it, and try again")
    for item in written:
        state_lock = item.path / "lock" if item.path.name == STATE else item.path
        if state_lock.name == "lock" and _is_held(state_lock):
            raise NotStarted(
                f"a daemon runs with {state_lock.parent}; end it (systemctl stop wavelet, or kill it), and try again"
            )


def _is_held(lock: Path) -> bool:
    try:
        opened = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def _remove(path: Path) -> None:
    try:
        remove(path)
    except OSError as error:
        raise NotStarted(f"{error.filename or path} cannot be removed: {error.strerror}") from None


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        print("wavelet: to remove this without being asked, say --yes", file=sys.stderr)
        return False
    _say("Remove what wavelet has written, and end its daemon? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(title: str, items: list[Item]) -> None:
    if not items:
        return
    _say(title)
    for item in items:
        _say(f"  {size(item.size):>9}  {item.path}" + (f"    ({item.why})" if item.why else ""))


def _say(line: str, end: str = "\n") -> None:
    print(line, end=end, flush=True)
