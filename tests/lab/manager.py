"""A service manager that speaks systemd's protocols: hands sockets over, and hears what the service says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.daemon import environment
from lab.processes import STOP_SECONDS, LabError, wait_for

HEAR_SECONDS = 20.0
HIGH = 100
"""Descriptors from here on are handed to the shell, which puts them where the protocol has them."""


class Manager:
    """One service, `wavelet serve`; `heard` has its messages, in order.

    Args:
        directory: for state and log.
        abstract: whether the socket to talk to has an abstract name.
    """

    def __init__(self, directory: Path, *, abstract: bool = False) -> None:
        self.directory = directory
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"wavelet-lab-{os.getpid()}-{id(self)}"
        path = f"@{name}" if abstract else str(directory / "notify")
        self._socket.bind(f"\0{name}" if abstract else path)
        self._socket.setblocking(False)
        self._variables = {"NOTIFY_SOCKET": path}
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        *arguments: str,
        sockets: Mapping[str, socket.socket] | None = None,
        watchdog: float = 0.0,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start the service; `sockets` are handed over by their names, `watchdog` is in seconds."""
        handed = [fcntl.fcntl(each, fcntl.F_DUPFD, HIGH) for each in (sockets or {}).values()]
        given = self._variables | dict(variables or {})
        script = 'exec "$@"'
        if sockets:
            given |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
            moves = " ".join(f"{number}<&{each} {each}<&-" for number, each in enumerate(handed, 3))
            script = f'export LISTEN_PID="${{LISTEN_PID:-$$}}"; exec {moves}; exec "$@"'
        if watchdog:
            given |= {"WATCHDOG_USEC": f"{watchdog * 1e6:.0f}"}
        command = [sys.executable, "-m", "wavelet.cli.main", "serve", "--state", str(self.directory / "state")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", script, "-", *command, *arguments],
                env=environment(given),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=handed,
                start_new_session=True,
            )
        for each in handed:
            os.close(each)

    def log(self) -> str:
        """Return what the service has logged."""
        return (self.directory / "log").read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Send the service a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end of the service and return its status."""
        assert self._process is not None
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise LabError(f"the service does not end\n{self.log()[-4000:]}") from None

    def stop(self) -> int:
        """Stop the service as systemd does, and return its status."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def listen(self) -> None:
        """Take in what was said."""
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._socket.recv(4096).decode().splitlines()
                self.heard.append(dict(line.split("=", 1) for line in lines))

    def wait_for(self, name: str, *, after: int = 0) -> dict[str, str]:
        """Return the first message with a variable, the `after`-th or a later one."""

        def found() -> list[dict[str, str]]:
            self.listen()
            if self._process is not None and self._process.poll() is not None and not self.told(name, after):
                self.listen()
                raise LabError(f"the service has ended\n{self.log()[-4000:]}")
            return self.told(name, after)

        try:
            wait_for(lambda: bool(found()), f"{name} from the service", HEAR_SECONDS)
        except LabError as error:
            raise LabError(f"{error}\nheard: {self.heard}\n{self.log()[-4000:]}") from None
        return self.told(name, after)[0]

    def told(self, name: str, after: int = 0) -> list[dict[str, str]]:
        """Return the messages with a variable that were heard."""
        return [message for message in self.heard[after:] if name in message]


@contextlib.contextmanager
def managing(directory: Path, *, abstract: bool = False) -> Iterator[Manager]:
    """Give a manager, and stop its service at the end."""
    manager = Manager(directory, abstract=abstract)
    try:
        yield manager
    finally:
        if manager._process is not None and manager._process.poll() is None:
            manager.stop()
        manager.close()
