"""Single values of settings: addresses and sizes, and the error that names what is wrong with one."""

from __future__ import annotations

import ipaddress
import re

from wavelet.errors import InvalidRequest

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
HIGHEST_UID = 2**32 - 2
"""The highest uid there can be: it is unsigned and has 32 bits, and (uid_t) -1 stands for none (setresuid(2))."""

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


class ConfigError(InvalidRequest):
    """The settings cannot be used; the message names the file or variable and the key."""

    reason = "CONFIG_ERROR"


def split_address(text: str, key: str) -> tuple[str, int]:
    """Split `HOST:PORT` (IPv6 in brackets); the host is `localhost` or an IP address.

    Raises:
        ConfigError: not of that form.
    """
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        if not 0 <= int(port) < 65536:
            raise ValueError(port)
    except ValueError:
        message = f"{key}: {text!r} is not ADDRESS:PORT, e.g. 127.0.0.1:9090 or [::1]:9090"
        raise ConfigError(message, field=key) from None
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return `HOST:PORT`, the inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_size(text: str | int, key: str) -> int:
    """Parse bytes with an optional unit: `500MB`, `50 GiB`, or a plain number.

    Raises:
        ConfigError: not of that form.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise ConfigError(f"{key}: {text!r} is not a size, e.g. 500MB or 50GiB", field=key)
    unit = (found[2] or "").upper().removesuffix("B")
    if unit.endswith("I"):
        return int(float(found[1]) * 1024 ** "KMGT".index(unit[0]) * 1024)
    return int(float(found[1]) * _UNITS[unit])


def is_unspecified(host: str) -> bool:
    """Tell whether a host, as `split_address` returns it, stands for all addresses of this machine."""
    return host != "localhost" and ipaddress.ip_address(host).is_unspecified


def is_loopback(address: str, key: str) -> bool:
    """Tell whether only this machine can reach an address as `split_address` reads it.

    Raises:
        ConfigError: not of that form.
    """
    host, _ = split_address(address, key)
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
