"""Processes of the lab: run to their end or kept in the background, every wait bounded, stopped by process id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

STOP_SECONDS = 15.0
"""How long a process may take to end after SIGTERM."""

RUN_SECONDS = 50.0
"""How long a command may run, where its caller sets nothing else."""


class LabError(AssertionError):
    """Something in the lab did not do its part; the message holds what it printed."""


def run(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    text: str = "",
    seconds: float = RUN_SECONDS,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; with `check`, any status but 0 is a LabError with all that it printed."""
    done = subprocess.run(
        [str(part) for part in argv],
        check=False,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Return once `condition` holds; a LabError that says `what` was awaited if it does not in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise LabError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


class Process(Protocol):
    """What is used of a `subprocess.Popen`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


def start(argv: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None) -> Process:
    """Start a program in a session of its own; all that it prints goes to `output`."""
    return subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class Background:
    """A process that runs until it is stopped; what it prints goes to `log`."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        begin: Callable[[Sequence[str], IO[bytes], Any], Process] = start,
    ) -> None:
        self.argv = [str(part) for part in argv]
        self.log_path = log
        with log.open("ab") as output:
            self.process = begin(self.argv, output, environment)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def log(self) -> str:
        """Return what it has printed so far."""
        return self.log_path.read_text("utf-8", "replace")

    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return once `ready`; a LabError with the log if the process ends first or the time does."""
        try:
            wait_for(lambda: not self.running() or ready(), " ".join(self.argv), seconds)
            if not self.running():
                raise LabError(f"{self.argv} ended with {self.process.returncode}")
        except LabError as error:
            self.stop()
            raise LabError(f"{error}\n{self.log()[-4000:]}") from None

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End the process, by SIGKILL (its whole session then) when the signal does not do it; return its status."""
        if self.running():
            self.process.send_signal(with_signal)
            try:
                return self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def stopping(process: Background) -> Iterator[Background]:
    """Stop the process at the end of the block."""
    try:
        yield process
    finally:
        process.stop()
