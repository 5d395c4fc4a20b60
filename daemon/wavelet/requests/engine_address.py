"""The address of a user's container engine, by the rules of its own command: a unix socket, or a port of this machine.

docker: DOCKER_HOST, else the context that DOCKER_CONTEXT or the configuration names; podman: CONTAINER_HOST.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from wavelet.errors import InvalidRequest
from wavelet.upstream.addresses import is_loopback

Engine = Literal["docker", "podman"]

UNIX, TCP = "unix://", "tcp://"

FILE_LIMIT = 1024 * 1024
"""Bytes that are read of a file of docker's."""


def chosen_address(engine: Engine, environment: Mapping[str, str]) -> str:
    """Return the address that the user has chosen (see `parse_address`), empty for the usual place. Blocking.

    Raises:
        InvalidRequest: what is chosen is not on this node, or cannot be read; the message says where it is set.
    """
    if engine == "podman":
        return parse_address("CONTAINER_HOST", environment.get("CONTAINER_HOST", ""))
    if environment.get("DOCKER_HOST"):
        said = "DOCKER_TLS_VERIFY" if environment.get("DOCKER_TLS_VERIFY") else "DOCKER_HOST"
        return parse_address(said, environment["DOCKER_HOST"], tls=bool(environment.get("DOCKER_TLS_VERIFY")))
    directory = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or Path.home()) / ".docker")
    name = environment.get("DOCKER_CONTEXT") or _member(_document(directory / "config.json"), "currentContext")
    if name in ("", "default"):
        return ""
    said = f"docker's context {name[:100]!r}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    meta = directory / "contexts" / "meta" / digest / "meta.json"
    if not meta.is_file():
        raise _refused(said, f"is not there ({meta})")
    endpoints = _document(meta).get("Endpoints")
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    has_tls = (meta.parents[2] / "tls" / digest).is_dir()
    return parse_address(said, _member(endpoint if isinstance(endpoint, dict) else {}, "Host"), tls=has_tls)


def parse_address(said: str, address: str, *, tls: bool = False) -> str:
    """Read an engine's address: `unix://` and a path, a path, or `tcp://` and a loopback address with its port.

    `said` is where it is set. The result begins with `unix://` or `tcp://`; it is empty for an empty address.

    Raises:
        InvalidRequest: it is none of these, or would have to be spoken to by TLS.
    """
    if address in ("", UNIX):
        return ""
    if address.startswith((f"{UNIX}/", "/")):
        return UNIX + address.removeprefix(UNIX)
    host, _, port = address.removeprefix(TCP).rstrip("/").rpartition(":")
    if address.startswith(TCP) and is_loopback(host.strip("[]")) and port.isascii() and port.isdecimal():
        if tls:
            raise _refused(said, "wants TLS, which is not spoken with engines")
        return address.rstrip("/")
    shown = address.partition("://")[0] + "://…" if "://" in address else "an address without unix://"
    raise _refused(said, f"is {shown}, and only an engine of this node can pull from this daemon")


def _refused(said: str, why: str) -> InvalidRequest:
    message = f"{said} {why}; name the engine's socket (engineAddress, --engine-socket unix:///path/of/the.sock)"
    return InvalidRequest(message, field="engineAddress")


def _document(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(FILE_LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(str(path), f"cannot be read ({getattr(error, 'strerror', None) or 'it is not JSON'})") from None
    return document if isinstance(document, dict) else {}


def _member(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
