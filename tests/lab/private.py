"""A private daemon for tests: its own directory and port, so that it is nobody's else; ended by its process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.daemon import environment
from lab.http import get
from lab.ports import free_port
from lab.processes import wait_for

WAVELET = (sys.executable, "-m", "wavelet.cli.main")
END_SECONDS = 10.0
RUN_SECONDS = 60.0


class Private:
    """Where `wavelet ensure` and `wavelet run` of a test have their daemon."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.variables = environment({"USER": "somebody", **variables})
        # An installed package has its bytecode; without it each start compiles for half a second.
        self.variables.pop("PYTHONDONTWRITEBYTECODE", None)

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return the command line of `wavelet NAME` for this daemon."""
        return [*WAVELET, name, "--port", str(self.port), "--directory", str(self.directory), *arguments]

    def call(self, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `wavelet NAME` to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            check=False,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start `wavelet NAME`."""
        return subprocess.Popen(
            self.command(name, *arguments),
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ensure(self, *arguments: str) -> dict[str, Any]:
        """Run `wavelet ensure`, which has to succeed, and return what the daemon says of itself."""
        done = self.call("ensure", *arguments)
        assert (done.returncode, done.stdout) == (0, f"{self.endpoint}\n"), done.stderr
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return what the daemon says of itself."""
        said: dict[str, Any] = get(f"{self.endpoint}/statusz").json()
        return said

    def runs(self) -> bool:
        """Tell whether it answers."""
        with contextlib.suppress(OSError):
            return bool(self.status())
        return False

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it, if it runs."""
        lock = self.directory / "state" / "lock"
        pid = int(lock.read_text() or 0) if lock.exists() else 0
        if pid and self.runs():
            os.kill(pid, number)
            wait_for(lambda: not alive(pid), f"the end of process {pid}", END_SECONDS)

    def log(self) -> str:
        """Return the daemon's log."""
        return (self.directory / "daemon.log").read_text("utf-8", "replace")


def alive(pid: int) -> bool:
    """Tell whether a process runs; one whose end nobody has noticed yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parse(text: str) -> Any:
    """Return the JSON that a command has printed."""
    return json.loads(text)
