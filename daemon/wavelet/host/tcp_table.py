"""The kernel's table of TCP sockets as text (proc(5), `/proc/net/tcp`, `/proc/net/tcp6`): who owns a socket.

It is long where there are many connections, and is read as a whole: for rare questions only. The command asks it too,
in milliseconds, so little is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

ESTABLISHED = 1
LISTEN = 10

_MAPPED = bytes(10) + b"\xff\xff"


class Owner(NamedTuple):
    """Who owns a socket: the user, and the socket's inode (0: no process has it any more)."""

    uid: int
    inode: int


class Endpoint(NamedTuple):
    """An address, 4 or 16 bytes in network order, and a port."""

    address: bytes
    port: int


def connected(local: Endpoint, remote: Endpoint) -> Owner | None:
    """Return the owner of the established socket with these ends; an IPv6 socket may hold IPv4 ones. Blocking."""
    pairs = [f"{_written(local)} {_written(remote)}"]
    if len(local.address) == len(remote.address) == 4:
        pairs.append(f"{_written(_mapped(local))} {_written(_mapped(remote))}")
    return next(_find("|".join(pairs), ESTABLISHED), None)


def listening(port: int) -> list[Owner]:
    """Return the owners of the sockets that listen on a port, of whatever address. Blocking."""
    return list(_find(rf"[0-9A-F]+:{port:04X} 0+:0000", LISTEN))


def _find(ends: str, state: int) -> Iterator[Owner]:
    row = re.compile(rf": (?:{ends}) {state:02X} \S+ \S+ \S+ +(?P<uid>\d+) +\d+ +(?P<inode>\d+)")
    for table in TABLES:
        try:
            with open(table, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes milliseconds to import
                text = file.read()
        except FileNotFoundError:
            continue  # a kernel without IPv6 has no second table
        for found in row.finditer(text):
            yield Owner(int(found["uid"]), int(found["inode"]))


def _mapped(end: Endpoint) -> Endpoint:
    return Endpoint(_MAPPED + end.address, end.port)


def _written(end: Endpoint) -> str:
    """Write an end as the table does: 32-bit words in the machine's order, in hexadecimal."""
    words = (int.from_bytes(end.address[at : at + 4], sys.byteorder) for at in range(0, len(end.address), 4))
    return "".join(f"{word:08X}" for word in words) + f":{end.port:04X}"
