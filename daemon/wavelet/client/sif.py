"""Where a daemon serves an image as a SIF file: in plain HTTP, with ranges, as bytes are no messages."""

from __future__ import annotations

from urllib.parse import quote

from wavelet.v1.daemon_pb2 import StatusResponse

PREFIX = "/sif/"
SUFFIX = ".sif"

_SAFE = "/:@=+,!~"
"""What stands in names and in a URL's path as it is."""
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - not listened at; replaced
"""Addresses to listen at that are none to call, and what this machine is called instead."""


def sif_url(status: StatusResponse, image: str, platform: str = "") -> str:
    """Return the URL of an image's SIF.

    Args:
        status: what the daemon says of itself.
        image: a reference of a registry, or a name that the daemon serves, with or without its authority.
        platform: which one of an index, e.g. `linux/arm64`; empty: the daemon's own.
    """
    return f"http://{http_address(status)}{sif_path(image.removeprefix(f'{status.authority}/'), platform)}"


def http_address(status: StatusResponse) -> str:
    """Return the address at which this machine calls a daemon in plain HTTP, `HOST:PORT`."""
    host, _, port = status.address.rpartition(":")
    return f"{_ANY.get(host, host)}:{port}"


def sif_path(image: str, platform: str = "") -> str:
    """Return the path of an image's SIF: `/sif/<name>:<tag>.sif`, or `@<digest>.sif`.

    Of an index the platform stands behind the tag, `--linux-arm64`, or, as a digest has no room for it, in the query.
    """
    name, at, digest = image.partition("@")
    if not at and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    if platform and not at:
        name += "--" + platform.replace("/", "-")
    query = f"?platform={quote(platform, safe='/')}" if platform and at else ""
    return f"{PREFIX}{quote(name + at + digest, safe=_SAFE)}{SUFFIX}{query}"
