"""wavelet as a black box: the command, started as a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import processes, zygote
from lab.http import Answer, get, request
from lab.ports import free_port
from lab.processes import Background, wait_for

READY_SECONDS = 20.0
SETTLE_SECONDS = 15.0
NO_HOME = "/nonexistent"

_STARTED: list[Daemon] = []


class Daemon:
    """One `wavelet serve` process."""

    def __init__(
        self,
        state: Path,
        *,
        address: str = "127.0.0.1",
        settings: Mapping[str, Any] | None = None,
        before: tuple[str, ...] = (),
        program: tuple[str, ...] = zygote.PROGRAM,
        **variables: object,
    ) -> None:
        """Prepare a daemon.

        Args:
            state: its state directory; its log and settings file lie beside it.
            address: where it listens, at a free port.
            settings: content of its settings file.
            before: a command that starts it, e.g. `ip netns exec NAME`.
            program: the `wavelet` command, where it is not this environment's.
            variables: settings by environment, e.g. `WAVELET_STORE_LIMIT`.
        """
        self.port = free_port()
        self.authority = f"{address}:{self.port}"
        self.url = f"http://{self.authority}"
        self.state = state
        self.log_path = state.with_name(state.name + ".log")
        self._environment = environment({name: str(value) for name, value in variables.items()})
        self._command = [*before, *program, "serve"]
        self._command += ["--listen", self.authority, "--state", str(state)]
        if settings is not None:
            path = state.with_name(state.name + ".yaml")
            path.write_text(yaml.safe_dump(dict(settings)))
            self._command += ["--config", str(path)]
        self._begin = zygote.fork if zygote.may_fork(self._command, variables) else processes.start
        self._process: Background | None = None

    def start(self) -> Daemon:
        """Start it and wait until it says that it is ready."""
        self._process = Background(self._command, self.log_path, self._environment, self._begin)
        _STARTED.append(self)
        self._process.wait_until(self._ready, READY_SECONDS)
        return self

    def _ready(self) -> bool:
        try:
            return get(f"{self.url}/readyz").status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """Stop it and return its exit status."""
        if self._process is None:
            return 0
        if self in _STARTED:
            _STARTED.remove(self)
        return self._process.stop()

    def running(self) -> bool:
        """Tell whether it has been started and has not ended."""
        return self._process is not None and self._process.running()

    def settle(self) -> None:
        """Return once all that was begun is in its place and written down.

        Who pulls has the last byte of a blob once it is verified; the file is made durable after that.
        """
        wait_for(self._settled, "the end of unfinished files", SETTLE_SECONDS)

    def _settled(self) -> bool:
        if any((self.state / "partial").iterdir()):
            return False
        with contextlib.closing(sqlite3.connect(self.state / "node.db", timeout=SETTLE_SECONDS)) as database:
            (known,) = database.execute("SELECT COUNT(*) FROM blobs").fetchone()
        return int(known) >= sum(1 for _ in (self.state / "blobs").glob("*/*/*"))

    def is_making(self) -> bool:
        """Tell whether a worker writes a layer."""
        return any((self.state / "partial").glob("*/layer"))

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut would, without a chance to tidy up."""
        if self._process is not None:
            self._process.stop(signal.SIGKILL)

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path of it."""
        return get(self.url + path, **headers)

    def head(self, path: str, **headers: str) -> Answer:
        """HEAD a path of it."""
        return request("HEAD", self.url + path, headers={name.replace("_", "-"): v for name, v in headers.items()})


def logs_of_running() -> list[tuple[str, str]]:
    """Return title and last lines of the log of each daemon that runs now, for a failed test's report."""
    return [(f"log of wavelet {daemon.authority}", daemon.log()[-8000:]) for daemon in _STARTED]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without proxies, wavelet's settings and the home of whoever runs the tests."""
    left_out = ("wavelet_", "http_proxy", "https_proxy", "all_proxy", "docker_config", "registry_auth_file", "home")
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith(left_out)}
    return kept | {"HOME": NO_HOME} | dict(more)
