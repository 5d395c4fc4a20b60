"""The address policy: to which IP addresses a connection may be opened at all.

It sits in the connector's socket factory, which sees every address that is dialled: names, IP literals, redirects'
targets, and names that resolve differently the second time. What goes through a proxy is resolved by the proxy: there
only a host that is written as an address can be judged, and the proxy itself has to keep the rest.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this network"; Linux takes it for the machine itself
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "100.100.100.200/32",  # Alibaba Cloud's metadata service
        "168.63.129.16/32",  # Azure's platform service
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS's metadata service
        "fd20:ce::254/128",  # Google Cloud's metadata service
        "ff00::/8",
    )
)
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog"})


class AddressError(OSError):
    """The policy forbids the address. It is an OSError, so that the connector handles it as a failed connection."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)
        self.why = why


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses may be dialled.

    Attributes:
        private: whether private ranges and loopback are open. Link-local, metadata and multicast addresses never are.
    """

    private: bool

    def objection(self, address: Address) -> str | None:
        """Say why `address` is not dialled, or None where it may be."""
        for meant in _meanings(address):
            if any(meant.version == network.version and meant in network for network in _NEVER):
                return "a link-local, metadata or otherwise special address, which is never asked"
            if not self.private and not _is_public(meant):
                return "a private or loopback address, which the setting upstream.private_networks does not allow"
        return None

    def check_host(self, host: str) -> None:
        """Judge a host as it is written, for connections that a proxy makes.

        Raises:
            AddressError: it is an address that the policy forbids, or a metadata service's name.
        """
        if host.lower().rstrip(".") in _METADATA_NAMES:
            raise AddressError("the name of a metadata service, which is never asked")
        address = literal(host)
        objection = None if address is None else self.objection(address)
        if objection is not None:
            raise AddressError(objection)

    def open_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """Make the socket for one address of `getaddrinfo`; the connector's `socket_factory`.

        Raises:
            AddressError: the policy forbids the address.
        """
        family, kind, protocol, _, where = info
        objection = self.objection(ipaddress.ip_address(str(where[0])))
        if objection is not None:
            raise AddressError(objection)
        return socket.socket(family, kind, protocol)


FOR_REGISTRIES = AddressPolicy(private=True)
"""Registries that image names name: a site's own are in private ranges."""

PUBLIC_ONLY = AddressPolicy(private=False)


def literal(host: str) -> Address | None:
    """Return the address that `host` is written as, also in the old forms `127.1` and `2130706433`, else None."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare)) if bare.isascii() and bare[:1].isdigit() else None
    except OSError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether `host` (no port) is this machine by name: `localhost`, `*.localhost`, 127.0.0.0/8, `::1`."""
    address = literal(host)
    if address is not None:
        return any(meant.is_loopback for meant in _meanings(address))
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _meanings(address: Address) -> tuple[Address, ...]:
    """Return the address and the IPv4 address that it carries, through which a host or a gateway would reach that."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    embedded = address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF)
    return (address, ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)) if embedded else (address,)


def _is_public(address: Address) -> bool:
    return address.is_global and address not in _SITE_LOCAL if address.version == 6 else address.is_global
