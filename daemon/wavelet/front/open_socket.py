"""The opening of the listener's sockets, and why one cannot be opened."""

from __future__ import annotations

import asyncio
import errno
import socket

import structlog

from wavelet.config import ConfigError, Settings, is_loopback, join_address, split_address
from wavelet.host.port_owner import describe_owner

log = structlog.get_logger()

BACKLOG = 1024
"""Connections that wait to be accepted."""


async def open_plain(settings: Settings, handed: socket.socket | None = None) -> socket.socket:
    """Open the plain listener's socket, so that its port is known before anything is named after it.

    `handed` is one that a service manager has opened: its unit then decides on the address, and not the settings.

    Raises:
        ConfigError: the address is in use (its owner is named) or not this machine's, or one that other machines reach.
    """
    if handed is None:
        return await open_socket(settings.listen, "listen")
    address = join_address(*handed.getsockname()[:2])
    if not (is_loopback(address, "listen") or settings.allow_remote):
        raise ConfigError(
            f"listen: the service manager hands over a socket on {address}, which other machines reach; have it listen"
            " on a loopback address, or say `allow_remote: true`",
            field="listen",
        )
    if address != settings.listen:
        log.warning("the service manager decides where to listen", address=address, listen=settings.listen)
    return handed


async def open_socket(address: str, key: str) -> socket.socket:
    """Open a socket that listens on an address; `key` is the setting that it comes from.

    Raises:
        ConfigError: as `open_plain`.
    """
    host, port = split_address(address, key)
    try:
        return _listening_socket("127.0.0.1" if host == "localhost" else host, port)
    except OSError as error:
        raise ConfigError(await _why(error, address, port, key), field=key) from None


def _listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; `::` serves IPv4 too."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind((host, port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


async def _why(error: OSError, address: str, port: int, key: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            owner = await asyncio.to_thread(describe_owner, port)
            return f"{key}: {address} is in use by {owner}; stop it, or set `{key}` to another port"
        case errno.EADDRNOTAVAIL:
            return f"{key}: {address} is not an address of this machine"
        case errno.EACCES:
            return f"{key}: {address} is not open to this user; ports below 1024 are root's"
        case _:
            return f"{key}: cannot listen on {address}: {error.strerror}"
