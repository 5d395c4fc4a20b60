"""The owner of a connection from this machine: the uid whose socket is at its other end.

Asked of the kernel when a connection is accepted (sock_diag(7); include/uapi/linux/inet_diag.h), for the exact pair
of addresses as the client sees it. Nothing that the client sends takes part.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct

from wavelet.host import tcp_table
from wavelet.host.tcp_table import Endpoint, Owner
from wavelet.host.uids import unreadable, user_of

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_NO_COOKIE = 0xFFFFFFFF
_ANSWERS_READ = 8

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_PORTS = struct.Struct("!HH")
_INTERFACE = struct.Struct("=III")  # interface, cookie
_ANSWER = struct.Struct("=BBxx4s16s16s12x3I2I")  # family, state, ports, source, destination, …, uid, inode
_ERROR = struct.Struct("=i")

_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK_6 = bytes(15) + b"\x01"


class Peers:
    """Looks up the owners of loopback connections, in microseconds. For the event loop's thread."""

    def __init__(self) -> None:
        self._sequence = 0
        self._answers = False
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG
            )

    def uid_of(self, transport: asyncio.BaseTransport) -> int | None:
        """Return the uid at the other end of an accepted connection.

        None: not a loopback connection, or the other end is not open any more, or it is nobody's in particular.

        Raises:
            AccessRefused: the kernel does not say.
        """
        client = _endpoint(transport.get_extra_info("peername"))
        server = _endpoint(transport.get_extra_info("sockname"))
        if client is None or server is None or not _is_loopback(client):
            return None
        try:
            owner = self._owner(client, server)
        except (OSError, ValueError) as error:
            raise unreadable(str(error)) from None
        # A socket whose process has gone reads as uid 0 without an inode.
        return None if owner is None or owner.inode == 0 else user_of(owner.uid)

    def close(self) -> None:
        """Close the netlink socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _owner(self, client: Endpoint, server: Endpoint) -> Owner | None:
        if self._socket is not None:
            try:
                owner = self._ask(self._socket, client, server)
            except OSError as error:
                # ENOENT: no such socket, or a kernel without this service; it has it if it has ever answered.
                if self._answers and error.errno == errno.ENOENT:
                    return None
            else:
                self._answers = True
                return owner
        return tcp_table.connected(client, server)

    def _ask(self, netlink: socket.socket, client: Endpoint, server: Endpoint) -> Owner | None:
        """Ask for the socket from `client` to `server`; the kernel answers before `send` returns."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        family = socket.AF_INET if len(client.address) == 4 else socket.AF_INET6
        ports = _PORTS.pack(client.port, server.port)
        addresses = client.address.ljust(16, b"\0") + server.address.ljust(16, b"\0")
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ports + addresses
        body += _INTERFACE.pack(0, _NO_COOKIE, _NO_COOKIE)
        size = _HEADER.size + len(body)
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, self._sequence, 0) + body)
        for _ in range(_ANSWERS_READ):
            message, (sender, _groups) = netlink.recvfrom(4096)
            _, kind, _, sequence, _ = _HEADER.unpack_from(message)
            if sender == 0 and sequence == self._sequence:
                return _read_answer(kind, message[_HEADER.size :], ports, client, server)
        raise OSError(errno.EPROTO, "no answer to this question")


def _read_answer(kind: int, body: bytes, ports: bytes, client: Endpoint, server: Endpoint) -> Owner | None:
    if kind == _NLMSG_ERROR:
        (code,) = _ERROR.unpack_from(body)
        raise OSError(-code, "the kernel refuses to say")
    _, state, its_ports, source, destination, *_, uid, inode = _ANSWER.unpack_from(body)
    # Where nothing is connected from there, the kernel may answer with a socket that listens there.
    exact = its_ports == ports and _is_at(source, client) and _is_at(destination, server)
    return Owner(uid, inode) if exact and state == tcp_table.ESTABLISHED else None


def _is_at(field: bytes, end: Endpoint) -> bool:
    return field in (end.address.ljust(16, b"\0"), _MAPPED + end.address)


def _is_loopback(end: Endpoint) -> bool:
    return end.address == _LOOPBACK_6 or (len(end.address) == 4 and end.address[0] == 127)


def _endpoint(name: object) -> Endpoint | None:
    """Read a socket's name; an IPv4 address in IPv6 form is IPv4. None: not an internet address."""
    if not isinstance(name, tuple) or len(name) < 2:
        return None
    host, port = name[0].partition("%")[0], name[1]
    with contextlib.suppress(OSError):
        return Endpoint(socket.inet_pton(socket.AF_INET, host), port)
    with contextlib.suppress(OSError):
        address = socket.inet_pton(socket.AF_INET6, host)
        return Endpoint(address.removeprefix(_MAPPED) if address.startswith(_MAPPED) else address, port)
    return None
