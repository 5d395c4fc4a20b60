"""Daemons without the second of CPU that Python takes to import them: forked from a process that has (a zygote).

What is forked is what `python -m wavelet.cli.main ARGUMENTS` is after its imports: it has a session, an environment,
streams and a process id of its own, the module `__main__`, and an end like any other. There are several zygotes that
take turns, as hashes of strings are another in each process, and what hangs on an order of them is to be seen.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import itertools
import json
import os
import runpy
import select
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

TESTS = Path(__file__).parents[1]
PROGRAM = (sys.executable, "-m", "wavelet.cli.main")
"""What may be forked rather than started: this environment's `wavelet`."""

IMPORTED = ("wavelet.cli.commands.serve", "wavelet.front.grpc.server")
READ_EARLY = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "SSL_", "GRPC_", "MALLOC_")
"""Variables that are read before or while modules are imported; who sets one has to be started."""

COUNT = 2
"""How many take turns. With none, as benchmarks set it, daemons are started: what they measure is real."""

ANSWER_SECONDS = 30.0
END_SECONDS = 5.0
REQUEST_BYTES = 1_000_000
STATUS_BYTES = 16


class Forked:
    """A process that a zygote has forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit status, or the signal it ended by as a negative number; nothing while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended; `subprocess.TimeoutExpired` if it does not in time (seconds)."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _end(self) -> None:
        told = os.read(self._status, STATUS_BYTES)
        os.close(self._status)
        self.returncode = int(told)


class Zygote:
    """A process that has imported the daemon and forks when it is asked to, while there is who started it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = "import sys; sys.path.append(sys.argv[1]); from lab.zygote import serve; serve(int(sys.argv[2]))"
        with its:
            number = its.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(TESTS), str(number)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[number],
                start_new_session=True,
            )
        self.closed = False
        self._socket = own
        own.settimeout(ANSWER_SECONDS)
        self._asking = threading.Lock()
        atexit.register(self.end)

    def fork(self, arguments: Sequence[str], output: int, environment: Mapping[str, str]) -> Forked:
        """Return a new process with these arguments of the command, which prints to `output` (a descriptor)."""
        status, written = os.pipe()
        request = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
        try:
            with self._asking:
                socket.send_fds(self._socket, [request], [output, written])
                return Forked(int(self._socket.recv(STATUS_BYTES)), status)
        except BaseException:
            os.close(status)
            self.close()  # an answer that comes late is not the next one's
            raise
        finally:
            os.close(written)

    def close(self) -> None:
        """Ask no more: it ends after the last process that it has forked, whose end it tells."""
        self.closed = True
        self._socket.close()

    def end(self) -> None:
        """Ask no more, and wait for its end for a while."""
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)


_zygotes: dict[int, Zygote] = {}
_turns = itertools.count()
_starting = threading.Lock()


def may_fork(command: Sequence[str], variables: Mapping[str, object]) -> bool:
    """Tell whether a process of this command, with these variables set, can be forked."""
    own = tuple(command[: len(PROGRAM)]) == PROGRAM
    return own and COUNT > 0 and not any(name.startswith(READ_EARLY) for name in variables)


def fork(command: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> Forked:
    """Return a new process of a command that `may_fork`."""
    sys.audit("subprocess.Popen", command[0], [*command], None, None)  # as for any other process: quick.py hears it
    with _starting:
        turn = next(_turns) % COUNT
        if turn not in _zygotes or _zygotes[turn].closed:
            _zygotes[turn] = Zygote(environment)
        zygote = _zygotes[turn]
    return zygote.fork(command[len(PROGRAM) :], output.fileno(), environment)


def serve(number: int) -> None:
    """Be a zygote that is asked on the socket of this descriptor; in what is forked, run the command."""
    for name in IMPORTED:
        importlib.import_module(name)
    sys.path.remove(str(TESTS))
    with socket.socket(fileno=number) as asked:
        arguments = _forked(asked)
    if arguments is not None:
        sys.argv = ["wavelet", *arguments]
        runpy.run_module("wavelet.cli.main", run_name="__main__", alter_sys=True)


def _forked(asked: socket.socket) -> list[str] | None:
    """Fork for each request: return its arguments in the new process; nothing once nobody asks and none is left."""
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if key.fd in running:
                    selector.unregister(key.fd)
                    _report(key.fd, *running.pop(key.fd))
                    continue
                request, descriptors, _, _ = socket.recv_fds(asked, REQUEST_BYTES, 2)
                if not request:
                    selector.unregister(asked)
                    continue
                output, status = descriptors
                pid = os.fork()
                if pid == 0:
                    for each in (status, *running, *(written for _, written in running.values())):
                        os.close(each)
                    return _become(output, *json.loads(request))
                os.close(output)
                watched = os.pidfd_open(pid)
                running[watched] = pid, status
                selector.register(watched, selectors.EVENT_READ)
                asked.send(str(pid).encode())
    return None


def _report(watched: int, pid: int, status: int) -> None:
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(status, str(ended).encode())
    os.close(watched)
    os.close(status)


def _become(output: int, arguments: list[str], environment: dict[str, str], directory: str) -> list[str]:
    """Take session, streams, environment and directory; return the command's arguments."""
    os.setsid()
    os.chdir(directory)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = directory
    return arguments
