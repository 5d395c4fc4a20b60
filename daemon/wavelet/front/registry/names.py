"""Repository names that the registry answers to (pure).

wt/<token>/<path>      a container request
frozen/<path>          frozen images; their tags end in the token of a container request
conda/<spec>/…         packages: the name is the request (docs/conda-names.md)
local/<path>           what was pushed to this node (docs/hosted.md)
sif/<any of these>     its image as one file for Apptainer and Singularity (docs/sif.md)
<registry host>/<path> near-cache of a registry; `host_5000` or `host:5000` for one with a port
<path>                 docker.io
?ns=<host>             wins over all of them, as containerd sends it for a mirror
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from wavelet.errors import ImageNotFound, InvalidName, NotFound
from wavelet.image.reference import DOCKER_HUB, Repository, looks_like_host, normalise, valid_host, valid_path
from wavelet.kinds.conda.model.near_cache_names import PREFIX as CONDA_PREFIX
from wavelet.plan.delivery import FROZEN, token_of
from wavelet.plan.hosted import FIRST as LOCAL_PREFIX
from wavelet.plan.node import Node
from wavelet.plan.tokens import well_formed

TOKEN_PREFIX = "wt"  # noqa: S105 - the first component of names, no secret
SIF_PREFIX = "sif"
_PORT = re.compile(r"(?P<host>[A-Za-z0-9.-]+)_(?P<port>[0-9]{1,5})")

Kind = Literal["manifests", "blobs", "tags", "referrers", "uploads"]


@dataclass(frozen=True, slots=True)
class Route:
    """A request's path, taken apart: the repository name as it came, what is asked of it, and which."""

    name: str
    kind: Kind
    reference: str


@dataclass(frozen=True, slots=True)
class TokenName:
    """`wt/<token>/<path>`, or, with a tag, `frozen/<path>:<tag>`, which ends in the token."""

    token: str
    path: str
    frozen_tag: str = ""

    def check(self, plan: Node) -> None:
        """Return if this is a name of the request with this plan.

        Raises:
            InvalidName: the path behind the token is not the request's.
            ImageNotFound: the request is not frozen under this name.
        """
        if not self.frozen_tag:
            if not plan.label.is_path(self.path):
                raise InvalidName(f"the token is for {plan.label.path}, not for {self.path}")
            return
        delivery, here = plan.delivery, (self.path, self.frozen_tag)
        if delivery is None or delivery.repository is not None or (delivery.path, delivery.tag(self.token)) != here:
            raise ImageNotFound(f"nothing is frozen as {FROZEN}/{self.path}:{self.frozen_tag}")


@dataclass(frozen=True, slots=True)
class FrozenName:
    """`frozen/<path>`, of which each tag is another request's."""

    path: str

    @property
    def text(self) -> str:
        """The repository as it is pulled."""
        return f"{FROZEN}/{self.path}"

    def at(self, tag: str) -> TokenName:
        """Return the name with a tag.

        Raises:
            ImageNotFound: it does not end in a token.
        """
        token = token_of(tag)
        if not well_formed(token):
            raise ImageNotFound(f"nothing is frozen as {self.text}:{tag[:128]}; such a tag ends in -- and 32 digits")
        return TokenName(token, self.path, tag)


@dataclass(frozen=True, slots=True)
class CondaName:
    """`conda/<path>`; the plan is that of the path and a tag (see `near_cache_names.read_name`)."""

    path: str


@dataclass(frozen=True, slots=True)
class LocalName:
    """`local/<path>`: whatever the caller, or an engine for everybody, has pushed there."""

    path: str


@dataclass(frozen=True, slots=True)
class UpstreamName:
    """Any other name: a repository of a registry."""

    repository: Repository


@dataclass(frozen=True, slots=True)
class SifName:
    """`sif/<name>`: what another name answers, as a SIF. Its tags are the name's, with a platform or without."""

    of: TokenName | FrozenName | CondaName | LocalName | UpstreamName


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


def parse_upload_route(path: str) -> Route | None:
    """Take apart what follows `/v2/` in the address of an upload (`<name>/blobs/uploads/[<id>]`); None: it is none."""
    name, slash, reference = path.rpartition("/")
    if path.endswith("/blobs/uploads"):  # clients that leave the last slash out
        name, reference = path, ""
    repository = name.removesuffix("/blobs/uploads")
    return Route(repository, "uploads", reference) if slash and repository and repository != name else None


def as_pulled(name: str) -> str:
    """Return a name in the form that engines take behind an authority: `host_5000/path:tag`, not `host:5000/…`."""
    first, slash, rest = name.partition("/")
    if first == SIF_PREFIX and slash:
        return f"{first}/{as_pulled(rest)}"
    host, colon, port = first.rpartition(":")
    return f"{host}_{port}{slash}{rest}" if slash and colon and port.isdecimal() else name


Name = TokenName | FrozenName | CondaName | LocalName | UpstreamName | SifName


@functools.lru_cache(maxsize=4096)
def parse_name(name: str, namespace: str | None, *, reserved: bool) -> Name:
    """Say what a repository name means. `reserved` is whether the special first components are in force.

    Raises:
        InvalidName: it follows no grammar.
    """
    if namespace is not None:
        if not looks_like_host(namespace):
            raise InvalidName(f"ns: {namespace[:300]!r} is not a registry host")
        return _upstream(namespace, name)
    first, _, rest = name.partition("/")
    if reserved and rest and (own := _own(name, first, rest)) is not None:
        return own
    if rest and looks_like_host(first):
        with_port = _PORT.fullmatch(first)
        return _upstream(first if with_port is None else f"{with_port['host']}:{with_port['port']}", rest)
    with_port = _PORT.fullmatch(first) if rest else None
    if with_port is not None:
        return _upstream(f"{with_port['host']}:{with_port['port']}", rest)
    return _upstream(DOCKER_HUB, name)


def _own(name: str, first: str, rest: str) -> Name | None:
    """Return what a name with one of the special first components means; None where it has none of them.

    Raises:
        InvalidName: as `parse_name` has it.
    """
    if first == SIF_PREFIX:
        of = parse_name(rest, None, reserved=True)
        if isinstance(of, SifName):
            raise InvalidName(f"{name[:300]!r} says {SIF_PREFIX}/ twice: what stands behind it is the name of an image")
        return SifName(of)
    if first == TOKEN_PREFIX:
        token, _, path = rest.partition("/")
        if not path or not valid_path(path):
            raise InvalidName(f"{name[:300]!r} is not wt/<token>/<path>")
        return TokenName(token, path)
    if first in (CONDA_PREFIX, FROZEN, LOCAL_PREFIX) and not valid_path(name):
        raise InvalidName(f"{name[:300]!r} is not a repository path: lower-case letters, digits and . _ - between /")
    kinds: dict[str, type[FrozenName | CondaName | LocalName]]
    kinds = {CONDA_PREFIX: CondaName, FROZEN: FrozenName, LOCAL_PREFIX: LocalName}
    return kinds[first](rest) if first in kinds else None


def _upstream(host: str, path: str) -> UpstreamName:
    if not valid_host(host):
        raise InvalidName(f"{host[:300]!r} is not a registry host")
    host, path = normalise(host.lower(), path)
    if not valid_path(path):
        raise InvalidName(
            f"{path[:300]!r} is not a repository path: lower-case letters, digits and . _ - between slashes, 255 in all"
        )
    return UpstreamName(Repository(host, path))
