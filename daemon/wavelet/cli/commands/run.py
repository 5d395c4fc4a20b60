"""`wavelet run -- COMMAND…`: a command with this user's own daemon beside it. Standard library only.

The daemon is one for all such commands of the user on the node: the first starts it, the last one to end ends it. It is
looked at now and then, which keeps it from ending as unused and starts it again should it be gone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from wavelet.cli.commands.ensure import add_location_options, ensured_daemon, variables_for
from wavelet.cli.user_daemon.daemon import RUN_LOCK, RUN_MARK, DaemonLocation, location_of, make_private_directory
from wavelet.cli.user_daemon.stop import stop_daemon
from wavelet.errors import NotStarted

LOOK_INTERVAL = 30.0
"""Seconds between two looks at the daemon."""

EXIT_NOT_FOUND, EXIT_NOT_RUNNABLE = 127, 126
"""As shells have them."""

_PASSED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_FROM_KERNEL = 0x80
"""`si_code` of what the terminal sends (sigaction(2), SI_KERNEL): it goes to the command too, by itself."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_location_options(parser)
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND…", help="the command to run")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code; 128 and the number of the signal where one has ended it.

    Raises:
        NotStarted: there is no daemon, and why.
    """
    command = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not command:
        print("wavelet run: a command is missing: wavelet run -- nextflow run …", file=sys.stderr)
        return 2
    location = location_of(os.environ, options.directory, options.port)
    make_private_directory(location.directory, location.uid)
    with _among_users(location):
        _look(location, options)
        return _beside(command, {**os.environ, **variables_for(location, options)}, location, options)


def _look(location: DaemonLocation, options: argparse.Namespace) -> None:
    status, started = ensured_daemon(location, options, manager=False)
    if started:
        Path(location.inside(RUN_MARK)).write_text(str(status["pid"]), "ascii")


def _beside(
    command: list[str], variables: dict[str, str], location: DaemonLocation, options: argparse.Namespace
) -> int:
    awaited = {signal.SIGCHLD, *_PASSED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    try:
        # What Python ignores for itself is not the command's to ignore.
        child = os.posix_spawnp(
            command[0], command, variables, setsigmask=before, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
        )
    except (FileNotFoundError, PermissionError) as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        print(f"wavelet run: {command[0]}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_RUNNABLE
    try:
        return _wait(child, awaited, location, options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(child: int, awaited: set[signal.Signals], location: DaemonLocation, options: argparse.Namespace) -> int:
    while True:
        came = signal.sigtimedwait(awaited, LOOK_INTERVAL)
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if came is None:
            _look_again(location, options)
        elif came.si_signo != signal.SIGCHLD and came.si_code != _FROM_KERNEL:
            os.kill(child, came.si_signo)


def _look_again(location: DaemonLocation, options: argparse.Namespace) -> None:
    try:
        _look(location, options)
    except NotStarted as error:
        # The command goes on, and may not need it.
        print(f"wavelet run: {error.message}", file=sys.stderr)


@contextlib.contextmanager
def _among_users(location: DaemonLocation) -> Iterator[None]:
    """Count as one of the commands that use the daemon; the last one ends it, if it was started for one of them."""
    users = os.open(location.inside(RUN_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _end(location)
    finally:
        os.close(users)


def _end(location: DaemonLocation) -> None:
    """End the daemon that was started for such a command, unless somebody else has come to count on it."""
    with contextlib.suppress(OSError, ValueError, NotStarted):
        mark = Path(location.inside(RUN_MARK))
        pid = int(mark.read_text("ascii"))
        mark.unlink()
        stop_daemon(location, pid)
