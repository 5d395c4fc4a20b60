"""What a registry's answers to a push mean: where an upload goes on, how far it got, and why it is refused. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from wavelet.errors import (
    AccessRefused,
    InvalidName,
    NotFound,
    TooLarge,
    UpstreamBroken,
    UpstreamError,
    WaveletError,
)
from wavelet.image.reference import Digest, Repository

_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})(?:/.*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_NO_PUSHES = frozenset({405, 501})
_DENIED = frozenset({"DENIED", "UNAUTHORIZED"})
_MISSING = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a part of a push that is no success.

    Attributes:
        host: who answers: the registry, or a server that it sends to.
        status: HTTP's.
        code: the error code of the distribution-spec, or nothing.
        words: the server's own, in parentheses, after a space, or nothing.
    """

    host: str
    status: int
    code: str = ""
    words: str = ""


def error_of(refusal: Refusal, repository: Repository, what: str, size: int, login: str) -> WaveletError:
    """Return what is said of a refusal of `what`, a blob or manifest of `size` bytes, that was pushed with `login`."""
    host, status, code, words = refusal.host, refusal.status, refusal.code, refusal.words
    path = repository.path
    denied = AccessRefused(
        f"{host} refuses {what} of {repository} (asked as: {login}){words}; it takes a login that may push there",
        declined=status == 403,
    )
    limit = f"{size} bytes are more than its limit, or that of a proxy before it"
    cases: tuple[tuple[bool, WaveletError], ...] = (
        (code == "NAME_INVALID", InvalidName(f"{host} does not accept the repository name {path}{words}")),
        (status in (401, 403) or code in _DENIED, denied),
        (status == 413, TooLarge(f"{host} does not take {what}: {limit}{words}")),
        (code == "DIGEST_INVALID", UpstreamBroken(f"{host} disputes the digest of {what}{words}")),
        (code in _MISSING, UpstreamError(f"{host} misses a blob of {what} that it had{words}; ask again")),
        (status in (404, 410), NotFound(f"{host} has no repository {path}{words}; make it there first")),
        (status in _NO_PUSHES, UpstreamBroken(f"{host} takes no pushes: it answers {status} to {what}{words}")),
    )
    otherwise = UpstreamBroken(f"{host} does not take {what}: it answers {status}{words}")
    return next((error for applies, error in cases if applies), otherwise)


def next_location(base: URL, asked: URL, location: str) -> URL:
    """Return where an upload goes on: an answer's `Location`, as it stands, relative to what was `asked`.

    A registry behind a proxy that speaks TLS for it may name itself with http: it is asked by https all the same.

    Raises:
        UpstreamBroken: it is no http address, has a login, or leads from https to plain http elsewhere.
    """
    host = base.host_port_subcomponent or ""
    if not location:
        raise UpstreamBroken(f"{host} begins an upload without a Location")
    try:
        exact = location.isascii() and location.isprintable() and " " not in location
        target = asked.join(URL(location, encoded=exact)).with_fragment(None)
        usable = target.scheme in _SCHEMES and bool(target.host) and target.user is None
    except ValueError:
        usable = False
    if not usable:
        raise UpstreamBroken(f"{host} begins an upload at something that is not an http address")
    if asked.scheme == "https" and target.scheme == "http":
        if target.host != base.host or target.port not in (80, base.port):
            raise UpstreamBroken(f"{host} sends an upload from https to plain http ({target.host_port_subcomponent})")
        return URL(f"{base}{target.raw_path_qs}", encoded=True)
    return target


def with_digest(location: URL, digest: Digest) -> URL:
    """Return where an upload ends (distribution-spec, "Pushing a blob in chunks"); the rest stays byte for byte."""
    text = str(location)
    return URL(f"{text}{'&' if location.raw_query_string else '?'}digest={quote(digest, safe='')}", encoded=True)


def received(header: str) -> int:
    """Return how many bytes of an upload a registry has, as its `Range` says; 0 where it says nothing of use.

    `0-0` stands for one byte in the specification, and for none in distribution: it counts as none.
    """
    found = _RANGE.fullmatch(header.strip())
    return int(found[1]) + 1 if found is not None and int(found[1]) else 0


def least_chunk(header: str) -> int:
    """Return the bytes that a chunk must have (`OCI-Chunk-Min-Length`), 0 where nothing is said."""
    return int(header) if _LENGTH.fullmatch(header.strip()) else 0
