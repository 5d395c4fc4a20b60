"""Repository names that the registry answers to (pure).

wt/<token>/<path>      a container request
conda/<spec>/…         packages: the name is the request (docs/conda-names.md)
sif/…                  reserved
<registry host>/<path> near-cache of a registry; `host_5000` or `host:5000` for one with a port
<path>                 docker.io
?ns=<host>             wins over all of them, as containerd sends it for a mirror
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from wavelet.errors import InvalidName, NotFound, NotServed
from wavelet.image.reference import DOCKER_HUB, Repository, looks_like_host, normalise, valid_host, valid_path
from wavelet.kinds.conda.model.near_cache_names import PREFIX as CONDA_PREFIX

TOKEN_PREFIX = "wt"  # noqa: S105 - the first component of names, no secret
RESERVED = ("sif",)
_PORT = re.compile(r"(?P<host>[A-Za-z0-9.-]+)_(?P<port>[0-9]{1,5})")

Kind = Literal["manifests", "blobs", "tags", "referrers"]


@dataclass(frozen=True, slots=True)
class Route:
    """A request's path, taken apart: the repository name as it came, what is asked of it, and which."""

    name: str
    kind: Kind
    reference: str


@dataclass(frozen=True, slots=True)
class TokenName:
    """`wt/<token>/<path>`."""

    token: str
    path: str


@dataclass(frozen=True, slots=True)
class CondaName:
    """`conda/<path>`; the plan is that of the path and a tag (see `near_cache_names.read_name`)."""

    path: str


@dataclass(frozen=True, slots=True)
class UpstreamName:
    """Any other name: a repository of a registry."""

    repository: Repository


def parse_route(path: str) -> Route:
    """Take apart what follows `/v2/`.

    Raises:
        NotFound: no such route in the distribution-spec's part that is served.
    """
    name, slash, reference = path.rpartition("/")
    if slash:
        head, _, kind = name.rpartition("/")
        if kind == "tags" and reference == "list" and head:
            return Route(head, "tags", "")
        match kind:
            case "manifests" | "blobs" | "referrers" if head and reference:
                return Route(head, kind, reference)
    raise NotFound(f"no such route: /v2/{path[:300]}")


def as_pulled(name: str) -> str:
    """Return a name in the form that engines take behind an authority: `host_5000/path:tag`, not `host:5000/…`."""
    first, slash, rest = name.partition("/")
    host, colon, port = first.rpartition(":")
    return f"{host}_{port}{slash}{rest}" if slash and colon and port.isdecimal() else name


@functools.lru_cache(maxsize=4096)
def parse_name(name: str, namespace: str | None, *, reserved: bool) -> TokenName | CondaName | UpstreamName:
    """Say what a repository name means. `reserved` is whether the special first components are in force.

    Raises:
        InvalidName: it follows no grammar.
        NotServed: a reserved name that this version does not serve.
    """
    if namespace is not None:
        if not looks_like_host(namespace):
            raise InvalidName(f"ns: {namespace[:300]!r} is not a registry host")
        return _upstream(namespace, name)
    first, _, rest = name.partition("/")
    if reserved and rest and first == TOKEN_PREFIX:
        token, _, path = rest.partition("/")
        if not path or not valid_path(path):
            raise InvalidName(f"{name[:300]!r} is not wt/<token>/<path>")
        return TokenName(token, path)
    if reserved and rest and first == CONDA_PREFIX:
        if not valid_path(name):
            raise InvalidName(
                f"{name[:300]!r} is not a repository path: lower-case letters, digits and . _ - between /"
            )
        return CondaName(rest)
    if reserved and rest and first in RESERVED:
        raise NotServed(f"names that begin with {first}/ are reserved, and not served by this version")
    if rest and looks_like_host(first):
        with_port = _PORT.fullmatch(first)
        return _upstream(first if with_port is None else f"{with_port['host']}:{with_port['port']}", rest)
    with_port = _PORT.fullmatch(first) if rest else None
    if with_port is not None:
        return _upstream(f"{with_port['host']}:{with_port['port']}", rest)
    return _upstream(DOCKER_HUB, name)


def _upstream(host: str, path: str) -> UpstreamName:
    if not valid_host(host):
        raise InvalidName(f"{host[:300]!r} is not a registry host")
    host, path = normalise(host.lower(), path)
    if not valid_path(path):
        raise InvalidName(
            f"{path[:300]!r} is not a repository path: lower-case letters, digits and . _ - between slashes, 255 in all"
        )
    return UpstreamName(Repository(host, path))
