"""TCP ports for servers of the lab: nothing else on the machine takes them between the choice and the listening.

A port that the kernel chooses (bind to 0) can go to an outgoing connection, or to another process of the tests, before
the server that it is meant for listens. Ports below the range of outgoing connections go to nobody, and each process of
the tests has a block of them, held by a lock that ends with the process.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lab.processes import LabError

BLOCKS = [range(start, start + 500) for start in range(10_000, 21_000, 500)]
"""Below net.ipv4.ip_local_port_range as Linux sets it (32768) and the ports of private daemons (wavelet.paths)."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port of `host` that nobody listens on, another one with each call for as long as there are any."""
    ports = _ports(os.getpid())
    for port in itertools.islice(ports, len(BLOCKS[0])):
        if _is_free(host, port):
            return port
    raise LabError(f"{host}: no port is free in this process's block")


@cache
def _ports(process: int) -> Iterator[int]:
    """Return the ports of a process's block, over and over; a forked child has a block of its own."""
    return itertools.cycle(_own_block(process))


def _own_block(process: int) -> range:
    directory = Path(tempfile.gettempdir()) / f"wavelet-test-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    for block in BLOCKS:
        lock = os.open(directory / str(block.start), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return block  # the descriptor stays open, and with it the lock, until the process ends
    raise LabError(f"process {process}: all blocks of ports are taken; see {directory}")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
