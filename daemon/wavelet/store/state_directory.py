"""The state directory: one process has it, and where it cannot be used, a sentence says why."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from wavelet.config import ConfigError
from wavelet.errors import OurError
from wavelet.store.opening import NO_ROOM, no_room


@contextlib.contextmanager
def lock_state_directory(state: Path) -> Iterator[None]:
    """Hold the state directory for this process alone.

    Raises:
        ConfigError: it cannot be made or written, or another daemon holds it.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(state) from None
        raise ConfigError(
            f"state: {error.filename or state} cannot be used: {error.strerror}; choose another with --state",
            field="state",
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "another process"
            message = f"state: {state} belongs to a running wavelet (process {owner}); stop it, or use another --state"
            raise ConfigError(message, field="state") from None
        with explain_os_errors(state):
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        with _not_tidied(state):
            yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def explain_os_errors(state: Path) -> Iterator[None]:
    """Say in a sentence what the machine does not give while the daemon starts.

    Raises:
        NoSpace: the disk is full.
        OurError: a file or directory cannot be used.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(state) from error
        why = error.strerror or str(error)
        if isinstance(error, FileExistsError):
            why = "it has to be a directory, and something else has its name; move it away"
        raise OurError(f"{error.filename or state} cannot be used: {why}") from error


@contextlib.contextmanager
def _not_tidied(state: Path) -> Iterator[None]:
    """Keep those who tidy up /tmp from what lies below a directory: they leave locked ones alone (tmpfiles.d(5))."""
    directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # they look just now
            fcntl.flock(directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(directory)
