"""Where a user's container engine is, by the rules of its own command.

docker: DOCKER_HOST, else the context that DOCKER_CONTEXT or the configuration names; podman: CONTAINER_HOST.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from wavelet.errors import InvalidRequest

Engine = Literal["docker", "podman"]

SCHEME = "unix://"

FILE_LIMIT = 1024 * 1024
"""Bytes that are read of a file of docker's."""


def chosen_address(engine: Engine, environment: Mapping[str, str]) -> str:
    """Return `unix://` and the path that the user has chosen, empty where it is the engine's usual place. Blocking.

    Raises:
        InvalidRequest: what is chosen is no socket of this node, or cannot be read; the message says where it is set.
    """
    if engine == "podman":
        return _socket("CONTAINER_HOST", environment.get("CONTAINER_HOST", ""))
    if environment.get("DOCKER_HOST"):
        return _socket("DOCKER_HOST", environment["DOCKER_HOST"])
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
    return _socket(said, _member(endpoint if isinstance(endpoint, dict) else {}, "Host"))


def _socket(said: str, address: str) -> str:
    if address in ("", SCHEME):
        return ""
    if not address.startswith((f"{SCHEME}/", "/")):
        shown = address.partition("://")[0] + "://…" if "://" in address else "an address without unix://"
        raise _refused(said, f"is {shown}, and only an engine of this node can pull from this daemon: by its socket")
    return SCHEME + address.removeprefix(SCHEME)


def _refused(said: str, why: str) -> InvalidRequest:
    message = f"{said} {why}; name the engine's socket (--engine-socket unix:///path/of/the.sock)"
    return InvalidRequest(message, field="engineAddress")


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(FILE_LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(str(path), f"cannot be read ({getattr(error, 'strerror', None) or 'it is not JSON'})") from None
    return document if isinstance(document, dict) else {}


def _member(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
