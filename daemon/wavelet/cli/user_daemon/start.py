"""The start of this user's own daemon: one, however many ask at once, and apart from whoever asks.

Whoever finds no daemon takes a lock in its directory; those who come later wait for the lock, and find a daemon then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

from wavelet.cli.user_daemon.daemon import (
    FAILURE,
    LOG,
    START_LOCK,
    STATE,
    VARIABLES,
    DaemonLocation,
    daemon_status,
    make_private_directory,
)
from wavelet.daemon_status import DaemonStatus
from wavelet.errors import NotStarted

START_LIMIT = 60.0
"""Seconds for everything: waiting for others who start it, for one that ends, and for the start itself."""

LOOK_INTERVAL = 0.01
MANAGER_INTERVAL = 0.5
MANAGER_LIMIT = 10.0
"""Seconds for one call of the user manager."""

LOG_BYTES = 8 * 1024 * 1024
"""Size from which the log of former daemons is put aside; one such is kept."""

_OTHERS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What a service manager tells the process that starts the daemon, and not the daemon."""


class StartOptions(NamedTuple):
    """How a daemon is to be started where none runs.

    Attributes:
        records: directory of the container requests that nodes share; empty: as the settings say.
        config: file of settings; empty: where `wavelet serve` looks for one.
        images: directory of the SIF files that nodes share; empty: as the settings say.
        idle: seconds without use after which it ends.
        manager: whether a user manager starts it, where one runs, so that it outlives a batch job.
    """

    records: str = ""
    images: str = ""
    config: str = ""
    idle: float = 3600.0
    manager: bool = True


class EnsuredDaemon(NamedTuple):
    """A daemon that runs, whether it was started just now, and how."""

    status: DaemonStatus
    started: bool
    how: str


class _Launch(Protocol):
    how: str

    def failed(self) -> bool: ...


def ensure(location: DaemonLocation, options: StartOptions) -> EnsuredDaemon:
    """Return this user's daemon; start it if it does not run. To be called in the main thread.

    Raises:
        NotStarted: it cannot be started, or is not to be trusted; why.
    """
    make_private_directory(location.directory, location.uid)
    asked = time.time()
    with _deadline(location), _locked(location):
        found = daemon_status(location)
        if found is not None:
            return EnsuredDaemon(found, started=False, how="")
        _share_failure(location, asked)
        make_private_directory(location.sockets, location.uid)
        _wait_for_former(location)
        return _start(location, options)


def user_manager(environment: Mapping[str, str], uid: int) -> str | None:
    """Return the runtime directory of this user's service manager (systemd), if one runs and can be asked."""
    for runtime in (environment.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        there = Path(runtime).is_absolute() and Path(runtime, "systemd/private").exists()
        if there and shutil.which("systemd-run") is not None:
            return runtime
    return None


@contextlib.contextmanager
def _deadline(location: DaemonLocation) -> Iterator[None]:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise NotStarted(
            f"no daemon within {START_LIMIT:.0f} s: another process that starts it, or a daemon on another port or "
            f"one that ends, holds {location.directory}; its log is {location.inside(LOG)}"
        )

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, START_LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _locked(location: DaemonLocation) -> Iterator[None]:
    lock = os.open(location.inside(START_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _share_failure(location: DaemonLocation, asked: float) -> None:
    """Fail as the start has failed that this call has waited for; hundreds of them need not fail one by one."""
    with contextlib.suppress(FileNotFoundError), Path(location.inside(FAILURE)).open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mtime >= asked:
            raise NotStarted(file.read())


def _wait_for_former(location: DaemonLocation) -> None:
    """Wait until the state directory is nobody's: a daemon that ends has closed its port before it lets go of it."""
    try:
        former = os.open(location.inside(f"{STATE}/lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(former, fcntl.LOCK_EX)
    finally:
        os.close(former)


def _start(location: DaemonLocation, options: StartOptions) -> EnsuredDaemon:
    log = location.inside(LOG)
    begin = _turned(log)
    starting = _begin(location, options, log)
    while True:
        found = daemon_status(location)
        if found is not None:
            return EnsuredDaemon(found, started=True, how=starting.how)
        if starting.failed():
            message = f"the daemon does not start; {log} says:\n{_tail(log, begin)}"
            Path(location.inside(FAILURE)).write_text(message, "utf-8")
            raise NotStarted(message)
        time.sleep(LOOK_INTERVAL)


def _begin(location: DaemonLocation, options: StartOptions, log: str) -> _Launch:
    command = [sys.executable, "-P", "-m", "wavelet.cli.main", "serve", "--listen", location.address]
    command += ["--state", location.inside(STATE)]
    if options.config:
        command += ["--config", str(Path(options.config).absolute())]
    variables = _variables(location, options)
    runtime = user_manager(os.environ, location.uid) if options.manager else None
    if runtime is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return _UserService(location, command, variables, log, runtime)
    return _Process(command, variables, log)


def _variables(location: DaemonLocation, options: StartOptions) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    kept |= {
        "WAVELET_AUTHORITY": location.address,
        "WAVELET_IDLE_EXIT": f"{options.idle:g}",
        "WAVELET_GRPC_SOCKET": location.socket,
        "WAVELET_GRPC_ADMIN_SOCKET": location.admin_socket,
    }
    if options.records:
        kept["WAVELET_RECORDS_DIRECTORY"] = str(Path(options.records).absolute())
    if options.images:
        kept["WAVELET_SIF_DIRECTORY"] = str(Path(options.images).absolute())
    return kept


class _Process:
    """A process in a session of its own. Where a batch system tracks what a job starts, it ends with the job."""

    how = "as a process of its own"

    def __init__(self, command: list[str], variables: Mapping[str, str], log: str) -> None:
        with Path(log).open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                env=variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_unblock,  # noqa: PLW1509 - the command has one thread
            )

    def failed(self) -> bool:
        return self._process.poll() is not None


def _unblock() -> None:
    """Let signals through that whoever starts the daemon holds back for itself, as `wavelet run` does."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class _UserService:
    """A service of the user's manager: it outlives the job and, where the user lingers, the login."""

    how = "by the user manager"

    def __init__(
        self, location: DaemonLocation, command: list[str], variables: Mapping[str, str], log: str, runtime: str
    ) -> None:
        self._unit = f"wavelet-{location.port}.service"
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        self._looked = time.monotonic()
        file = location.inside(VARIABLES)
        _write_variables(file, variables)
        properties = [f"EnvironmentFile={file}", "WorkingDirectory=/"]
        properties += [f"StandardOutput=append:{log}", f"StandardError=append:{log}"]
        options = [option for each in properties for option in ("-p", each)]
        self._call("systemd-run", "--user", "--quiet", "--collect", f"--unit={self._unit}", *options, "--", *command)

    def _call(self, *command: str) -> None:
        subprocess.run(  # noqa: S603 - the command is ours
            command,
            check=True,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MANAGER_LIMIT,
        )

    def failed(self) -> bool:
        if time.monotonic() - self._looked < MANAGER_INTERVAL:
            return False
        self._looked = time.monotonic()
        try:
            self._call("systemctl", "--user", "--quiet", "is-active", self._unit)
        except (OSError, subprocess.SubprocessError):
            return True
        return False


def _write_variables(path: str, variables: Mapping[str, str]) -> None:
    """Write an environment file (systemd.exec(5)). It may hold secrets: arguments can be read by everybody."""
    lines = (f'{name}="{_quoted(value)}"\n' for name, value in variables.items() if name.isidentifier())
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(os.fsencode("".join(lines)))


def _quoted(value: str) -> str:
    return "".join(f"\\{character}" if character in '\\"$`' else character for character in value)


def _turned(log: str) -> int:
    """Put a long log aside, and return where what is written from now on begins (bytes)."""
    try:
        size = Path(log).stat().st_size
    except FileNotFoundError:
        return 0
    if size < LOG_BYTES:
        return size
    Path(log).replace(f"{log}.1")
    return 0


def _tail(log: str, begin: int) -> str:
    with Path(log).open("rb") as file:
        file.seek(begin)
        return file.read()[-2000:].decode("utf-8", "replace").strip() or "(nothing)"
