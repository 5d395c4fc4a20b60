"""Names of the OCI world as values: digests, platforms, repositories and references."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Protocol, Self

from wavelet.errors import InvalidDigest, InvalidName, InvalidRequest

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_SHAPE = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[0-9a-f]+)")


class Hasher(Protocol):
    """What of `hashlib`'s objects is used."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, in lower-case hexadecimal."""

    def copy(self) -> Self:
        """Return another one that has taken in the same."""


class Digest(str):
    """`algorithm:hex`, validated: sha256 or sha512, lower-case hexadecimal of the right length."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, field: str | None = None) -> Digest:
        """Validate `text`.

        Raises:
            InvalidDigest: another algorithm or not the algorithm's number of hexadecimal digits.
        """
        found = _SHAPE.fullmatch(text)
        if found is None or _HEX_LENGTH.get(found["algorithm"]) != len(found["hex"]):
            shown = text if len(text) < 160 else text[:150] + "…"
            message = f"{shown!r} is not a digest; it takes sha256:<64 hexadecimal digits> (or sha512:<128>)"
            raise InvalidDigest(message if field is None else f"{field}: {message}", field=field)
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The encoded part, without the algorithm."""
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def matches(self, hasher: Hasher) -> bool:
        """Tell whether what `hasher` has taken in is this digest's content."""
        return hasher.hexdigest() == self.hex


_ARCHITECTURES = {
    "amd64": "amd64", "x86_64": "amd64", "x86-64": "amd64",
    "arm64": "arm64", "aarch64": "arm64",
    "arm": "arm",
}  # fmt: skip
_SUPPORTED = "linux/amd64, linux/arm64 (also /v8), linux/arm (also /v5, /v6, /v7)"


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """Operating system, CPU architecture and variant, in normal form (image-spec, image-index.md, "platform")."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str, field: str = "containerPlatform") -> Platform:
        """Parse `os/arch[/variant]`, or `arch` alone for linux.

        Raises:
            InvalidRequest: an operating system, architecture or variant that images are not made for here.
        """
        parts = text.strip().lower().split("/")
        if len(parts) == 1:
            parts = ["linux", *parts]
        architecture = _ARCHITECTURES.get(parts[1]) if len(parts) in (2, 3) else None
        variant = parts[2] if len(parts) == 3 else ""
        known = architecture is not None and parts[0] == "linux"
        if architecture is None or not known or not _variant_exists(architecture, variant):
            raise InvalidRequest(
                f"{field}: unsupported container platform {text!r}; it can be {_SUPPORTED}", field=field
            )
        return cls.of(parts[0], architecture, variant)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Return the normal form of what a manifest says: aliases resolved, default variants filled in or left out."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if variant.isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""
        if architecture == "arm" and not variant:
            variant = "v7"
        return cls(os, architecture, variant)

    @classmethod
    def from_text(cls, text: str) -> Platform:
        """Return the platform of its own text, which may be of an architecture that `parse` refuses."""
        return cls.of(*text.split("/"))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


DEFAULT_PLATFORM = Platform("linux", "amd64")


def _variant_exists(architecture: str, variant: str) -> bool:
    if architecture == "arm64":
        return variant in ("", "8", "v8")
    if architecture == "arm":
        return variant in ("", "5", "6", "7", "v5", "v6", "v7")
    return variant == ""


_USER_INFO = re.compile(r"(^|//)[^/@]*@(?=[^@]*/)")


def without_login(text: str) -> str:
    """Return a text for messages and logs: a login that stands before a host, as in URLs, is left out."""
    return _USER_INFO.sub(r"\1…@", text)


DOCKER_HUB = "docker.io"
_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_NAME_LIMIT = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?P<literal>[0-9a-fA-F:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?")


def valid_path(path: str) -> bool:
    """Tell whether `path` is a repository path (distribution-spec, "Pulling manifests": `<name>`)."""
    return len(path) <= _NAME_LIMIT and _PATH.fullmatch(path) is not None


def valid_tag(tag: str) -> bool:
    """Tell whether `tag` is a tag (distribution-spec: at most 128 characters)."""
    return _TAG.fullmatch(tag) is not None


def looks_like_host(component: str) -> bool:
    """Tell whether a reference's first component names a registry: it has a dot or a port, or is `localhost`."""
    return "." in component or ":" in component or component == "localhost"


def valid_host(host: str) -> bool:
    """Tell whether `host` is a host name or address with an optional port."""
    found = _HOST.fullmatch(host)
    if found is None or len(host) > _NAME_LIMIT:
        return False
    if found["literal"] is not None:
        try:
            ipaddress.IPv6Address(found["literal"])
        except ValueError:
            return False
    return found["port"] is None or 0 < int(found["port"]) < 65536


def normalise(host: str, path: str) -> tuple[str, str]:
    """Return registry and repository as they are stored: Docker Hub under one name, its short names with `library/`."""
    host = DOCKER_HUB if host in _HUB_ALIASES else host
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return host, path


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry, normalised: `docker.io` and `library/busybox`."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of a repository, by tag, by digest, or by both (then the digest decides)."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, field: str | None = None) -> Reference:
        """Parse what a user writes, e.g. `busybox`, `quay.io/a/b:1`, `localhost:5000/x@sha256:…`.

        Raises:
            InvalidName: the text has a URL scheme or breaks the grammar.
        """

        def refuse(why: str) -> InvalidName:
            shown = without_login(text if len(text) < 300 else text[:290] + "…")
            message = f"{shown!r} is not an image name: {why}"
            return InvalidName(message if field is None else f"{field}: {message}", field=field)

        if text.startswith(("library://", "shub://")):
            raise refuse("no such store of SIF files is asked; name an image of a registry")
        if "://" in text:
            raise refuse("leave out the scheme, e.g. 'docker.io/library/busybox:1.36'")
        name, at, digest_text = text.partition("@")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except InvalidRequest as error:
                raise refuse(error.message) from None
        tag: str | None = None
        head, colon, last = name.rpartition(":")
        if colon and "/" not in last:
            name, tag = head, last
            if not valid_tag(tag):
                raise refuse("a tag has 1 to 128 of the characters A-Z a-z 0-9 _ . -")
        host, path = DOCKER_HUB, name
        first, slash, rest = name.partition("/")
        if slash and looks_like_host(first):
            host, path = first, rest
        if not valid_host(host):
            raise refuse(f"{host!r} is not a registry host")
        host, path = normalise(host, path)
        if not valid_path(path):
            raise refuse("a repository path is lower-case letters, digits and . _ - between slashes, 255 at most")
        return cls(Repository(host, path), tag if tag or digest else "latest", digest)

    def at(self, digest: Digest) -> Reference:
        """Return the same repository at a fixed digest, without the tag."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.repository}{tag}{digest}"
