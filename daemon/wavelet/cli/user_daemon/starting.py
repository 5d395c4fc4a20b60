"""Starts this user's own daemon: one, however many ask at once, and apart from whoever asks.

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
from types import FrameType
from typing import Any, NamedTuple, Protocol

from wavelet.cli.user_daemon.private import Place, own_directory, running
from wavelet.errors import NotStarted

START_LIMIT = 60.0
"""Seconds for everything: waiting for others who start it, for one that ends, and for the start itself."""

LOOK_INTERVAL = 0.01
MANAGER_INTERVAL = 0.5
MANAGER_LIMIT = 10.0
"""Seconds for one call of the user manager."""

LOG_BYTES = 8 * 1024 * 1024
"""Size from which the log of former daemons is put aside; one such is kept."""

LOCK, LOG, STATE, VARIABLES, FAILURE = "ensure.lock", "daemon.log", "state", "daemon.env", "failure"

_OTHERS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What a service manager tells the process that starts the daemon, and not the daemon."""


class Wanted(NamedTuple):
    """How a daemon is to be started where none runs.

    Attributes:
        records: directory of the container requests that nodes share; empty: as the settings say.
        config: file of settings; empty: where `wavelet serve` looks for one.
        idle: seconds without use after which it ends.
        manager: whether a user manager starts it, where one runs, so that it outlives a batch job.
    """

    records: str = ""
    config: str = ""
    idle: float = 3600.0
    manager: bool = True


class Born(NamedTuple):
    """A daemon that runs, whether it was started just now, and how."""

    status: dict[str, Any]
    started: bool
    how: str


class _Starting(Protocol):
    how: str

    def failed(self) -> bool: ...


def ensure(place: Place, wanted: Wanted) -> Born:
    """Return this user's daemon; start it if it does not run. To be called in the main thread.

    Raises:
        NotStarted: it cannot be started, or is not to be trusted; why.
    """
    own_directory(place.directory, place.uid)
    asked = time.time()
    with _deadline(place), _locked(place):
        found = running(place)
        if found is not None:
            return Born(found, started=False, how="")
        _share_failure(place, asked)
        own_directory(place.sockets, place.uid)
        _wait_for_former(place)
        return _start(place, wanted)


def user_manager(environment: Mapping[str, str], uid: int) -> str | None:
    """Return the runtime directory of this user's service manager (systemd), if one runs and can be asked."""
    for runtime in (environment.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        there = os.path.isabs(runtime) and os.path.exists(f"{runtime}/systemd/private")  # noqa: PTH110, PTH117
        if there and shutil.which("systemd-run") is not None:
            return runtime
    return None


@contextlib.contextmanager
def _deadline(place: Place) -> Iterator[None]:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise NotStarted(
            f"no daemon within {START_LIMIT:.0f} s: another process that starts it, or a daemon on another port or "
            f"one that ends, holds {place.directory}; its log is {place.inside(LOG)}"
        )

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, START_LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _locked(place: Place) -> Iterator[None]:
    lock = os.open(place.inside(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _share_failure(place: Place, asked: float) -> None:
    """Fail as the start has failed that this call has waited for; hundreds of them need not fail one by one."""
    with contextlib.suppress(FileNotFoundError), open(place.inside(FAILURE), encoding="utf-8") as file:  # noqa: PTH123
        if os.fstat(file.fileno()).st_mtime >= asked:
            raise NotStarted(file.read())


def _wait_for_former(place: Place) -> None:
    """Wait until the state directory is nobody's: a daemon that ends has closed its port before it lets go of it."""
    try:
        former = os.open(os.path.join(place.inside(STATE), "lock"), os.O_RDWR | os.O_CLOEXEC)  # noqa: PTH118
    except OSError:
        return
    try:
        fcntl.flock(former, fcntl.LOCK_EX)
    finally:
        os.close(former)


def _start(place: Place, wanted: Wanted) -> Born:
    log = place.inside(LOG)
    begin = _turned(log)
    starting = _begin(place, wanted, log)
    while True:
        found = running(place)
        if found is not None:
            return Born(found, started=True, how=starting.how)
        if starting.failed():
            message = f"the daemon does not start; {log} says:\n{_tail(log, begin)}"
            with open(place.inside(FAILURE), "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(message)
            raise NotStarted(message)
        time.sleep(LOOK_INTERVAL)


def _begin(place: Place, wanted: Wanted, log: str) -> _Starting:
    command = [sys.executable, "-P", "-m", "wavelet.cli.main", "serve", "--listen", place.address]
    command += ["--state", place.inside(STATE)]
    if wanted.config:
        command += ["--config", os.path.abspath(wanted.config)]  # noqa: PTH100
    variables = _variables(place, wanted)
    runtime = user_manager(os.environ, place.uid) if wanted.manager else None
    if runtime is not None:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return _ByManager(place, command, variables, log, runtime)
    return _ByItself(command, variables, log)


def _variables(place: Place, wanted: Wanted) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    kept |= {
        "WAVELET_AUTHORITY": place.address,
        "WAVELET_IDLE_EXIT": f"{wanted.idle:g}",
        "WAVELET_GRPC_SOCKET": place.socket,
        "WAVELET_GRPC_ADMIN_SOCKET": place.admin_socket,
    }
    return kept | ({"WAVELET_RECORDS_DIRECTORY": os.path.abspath(wanted.records)} if wanted.records else {})  # noqa: PTH100


class _ByItself:
    """A process in a session of its own. Where a batch system tracks what a job starts, it ends with the job."""

    how = "as a process of its own"

    def __init__(self, command: list[str], variables: Mapping[str, str], log: str) -> None:
        with open(log, "ab") as output:  # noqa: PTH123
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


class _ByManager:
    """A service of the user's manager: it outlives the job and, where the user lingers, the login."""

    how = "by the user manager"

    def __init__(self, place: Place, command: list[str], variables: Mapping[str, str], log: str, runtime: str) -> None:
        self._unit = f"wavelet-{place.port}.service"
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        self._looked = time.monotonic()
        file = place.inside(VARIABLES)
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
        os.unlink(path)  # noqa: PTH108
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(opened, "wb") as file:  # noqa: PTH123
        file.write(os.fsencode("".join(lines)))


def _quoted(value: str) -> str:
    return "".join(f"\\{character}" if character in '\\"$`' else character for character in value)


def _turned(log: str) -> int:
    """Put a long log aside, and return where what is written from now on begins (bytes)."""
    try:
        size = os.stat(log).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0
    if size < LOG_BYTES:
        return size
    os.replace(log, f"{log}.1")  # noqa: PTH105
    return 0


def _tail(log: str, begin: int) -> str:
    with open(log, "rb") as file:  # noqa: PTH123
        file.seek(begin)
        return file.read()[-2000:].decode("utf-8", "replace").strip() or "(nothing)"
