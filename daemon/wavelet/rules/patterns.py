"""The globs of rules: over image names, tags, digests and values of labels. Pure.

`*` stands for any text within a path's component, `**` for any text; `a/**/b` is also `a/b`. A glob is looked for from
left to right, and what has been found is not given up again, so that no glob takes longer than in proportion to the
text, whatever is in either.
"""

from __future__ import annotations

import operator
import re
from functools import partial
from itertools import pairwise

from wavelet.errors import InvalidRequest
from wavelet.image.reference import DOCKER_HUB, Digest, looks_like_host, normalise, valid_host, valid_path, valid_tag
from wavelet.rules.model import ImagePattern, Pattern

LENGTH_LIMIT = 512
"""Characters of a glob; the longest names of images have about as many."""

WILDCARDS_LIMIT = 16
"""Wildcards of a glob."""

_HTTPS = 443
_WITH_PORT = re.compile(r"(?P<name>.+):(?P<port>[0-9]{1,5})")
_PARTS = re.compile(r"\*+|[^*]+")
_HOST = re.compile(r"[a-z0-9.:_*\[\]-]+")
_COMPONENT = re.compile(r"[a-z0-9._*-]+")
_TAG = re.compile(r"[A-Za-z0-9._*-]{1,128}")
_DIGEST = re.compile(r"[a-z0-9:*]{1,150}")


def glob(text: str) -> Pattern:
    """Read a glob over any text.

    Raises:
        InvalidRequest: it is too long, has too many wildcards, or three stars at one place.
    """
    _check_length(text)
    wildcards = [part for part in _PARTS.findall(text) if part.startswith("*")]
    if len(wildcards) > WILDCARDS_LIMIT:
        raise InvalidRequest(f"{text[:60]!r} has {len(wildcards)} wildcards; {WILDCARDS_LIMIT} are the most")
    if max(map(len, wildcards), default=0) > 2:
        raise InvalidRequest(f"{text!r} has more stars at one place than `**`, which stands for any text")
    if not wildcards:
        return Pattern(text, partial(operator.eq, text))
    if wildcards == ["**"] and text.endswith("**"):
        start = text.removesuffix("**")
        return Pattern(text, lambda value: value.startswith(start))
    found = re.compile(_expression(text), re.DOTALL).match
    return Pattern(text, lambda value: found(value) is not None)


def image_glob(text: str) -> ImagePattern:
    """Read `<registry>/<repository>[:tag][@digest]`, in which each part may have wildcards.

    Without a registry it is of docker.io, and one component alone of docker.io/library, as engines read names.

    Raises:
        InvalidRequest: it could never be the name of an image, or `glob` refuses it.
    """
    _check_length(text)
    if "://" in text:
        raise InvalidRequest(f"{text!r} has a scheme; leave it out, as in `docker.io/**`")
    name, at, digest = text.partition("@")
    head, colon, tag = name.rpartition(":")
    has_tag = bool(colon) and "/" not in tag
    return ImagePattern(
        text,
        glob(_repository(head if has_tag else name, text)),
        _tag(tag) if has_tag else None,
        _digest(digest) if at else None,
    )


def full_name(repository: str) -> str:
    """Return `<registry>/<path>` as globs are compared with it: one text for each repository.

    The registry is in lower case and without the port of HTTPS, which make no other registry of it.
    """
    host, _, path = repository.partition("/")
    return "/".join(normalise(registry_name(host), path))


def registry_name(host: str) -> str:
    """Return a registry as globs are compared with it: `QUAY.IO:0443` is `quay.io`."""
    found = _WITH_PORT.fullmatch(host)
    name, port = (host, _HTTPS) if found is None else (found["name"], int(found["port"]))
    return normalise(name.lower() if port == _HTTPS else f"{name.lower()}:{port}", "")[0]


def literal_prefix(pattern: ImagePattern) -> str:
    """Return the components of `<registry>/<path>` before the first with a wildcard; empty if that is the registry."""
    literal, star, _ = pattern.repository.text.partition("*")
    return literal.rpartition("/")[0] if star else literal


def _check_length(text: str) -> None:
    if len(text) > LENGTH_LIMIT:
        raise InvalidRequest(f"{text[:60]!r}… has {len(text)} characters; {LENGTH_LIMIT} are the most")


def _repository(name: str, text: str) -> str:
    components = name.split("/")
    first = components[0]
    if not all(components):
        raise InvalidRequest(f"{text!r} has an empty component; any image is `**`, as in `quay.io/**`")
    if len(components) == 1 and "**" not in first:
        if "*" in first:
            why = "is a registry without a repository"
            raise InvalidRequest(f"{text!r} {why}; write `**/{first}` or `{DOCKER_HUB}/library/{first}`")
        if looks_like_host(first):
            raise InvalidRequest(f"{text!r} is a registry without a repository; write `{first}/**`")
    if not looks_like_host(first) and "*" not in first:
        components.insert(0, DOCKER_HUB)
    host, *path = components
    host = registry_name(host)
    if not (_HOST.fullmatch(host) if "*" in host else valid_host(host)):
        raise InvalidRequest(f"{text!r}: {host!r} is no registry; it takes HOST or HOST:PORT")
    for each in path:
        if not (_COMPONENT.fullmatch(each) if "*" in each else valid_path(each)):
            why = "is no part of a repository: lower-case letters, digits and . _ - are, and the wildcards * and **"
            raise InvalidRequest(f"{text!r}: {each!r} {why}")
    if path and "**" not in path[0]:
        return "/".join(normalise(host, "/".join(path)))
    return "/".join((host, *path))


def _tag(text: str) -> Pattern:
    if not (_TAG.fullmatch(text) if "*" in text else valid_tag(text)):
        raise InvalidRequest(f"{text!r} is no tag: 1 to 128 of A-Z a-z 0-9 _ . - and the wildcard *")
    return glob(text)


def _digest(text: str) -> Pattern:
    if "*" not in text:
        Digest.parse(text)
    elif _DIGEST.fullmatch(text) is None:
        raise InvalidRequest(f"{text!r} is no digest; it takes sha256:…, or `*` for any")
    return glob(text)


_COMPONENTS = "**/"
"""The wildcard for any number of components, none among them."""


def _tokens(text: str) -> list[str]:
    """Return a glob as wildcards (`*`, `**`, `**/`) and what stands between them."""
    tokens: list[str] = []
    parts = [*_PARTS.findall(text), ""]
    for part, following in pairwise(parts):
        begins = not tokens or tokens[-1].endswith("/")
        if part == "**" and begins and following.startswith("/"):
            tokens.append(_COMPONENTS)
        elif tokens and tokens[-1] == _COMPONENTS and not part.startswith("*"):
            tokens += [part[1:]] if part[1:] else []
        else:
            tokens.append(part)
    return tokens


def _expression(text: str) -> str:
    """Return the regular expression of a glob.

    It is cut before each `**` and `**/`. Of each piece the first place is taken at which it is found, and kept (an
    atomic group): what follows then has the most left. So it is with what stands between two `*` of a piece, within its
    component; of a piece that is not found from a component on, the next component is tried.
    """
    pieces: list[list[str]] = [[]]
    for token in _tokens(text):
        if token in ("**", _COMPONENTS):
            pieces.append([token])
        else:
            pieces[-1].append(token)
    *others, last = pieces
    return "".join(f"(?>{_piece(each, is_last=False)})" for each in others) + _piece(last, is_last=True) + r"\Z"


def _piece(tokens: list[str], *, is_last: bool) -> str:
    wildcard = tokens[0] if tokens and tokens[0] in ("**", _COMPONENTS) else ""
    first, *chunks = _chunks(tokens[1:] if wildcard else tokens)
    if wildcard == "**" and not chunks:
        return f".*{first}" if is_last else f".*?{first}"
    found = f"(?>[^/]*?{first})" if wildcard == "**" else first
    others = [f"(?>[^/]*?{each})" for each in chunks]
    if is_last and others:
        others[-1] = f"[^/]*{chunks[-1]}"
    return ("(?:[^/]*/)*?" if wildcard else "") + found + "".join(others)


def _chunks(tokens: list[str]) -> list[str]:
    """Return what stands before, between and after the `*` of a piece, escaped."""
    chunks = [""]
    for part in tokens:
        if part == "*":
            chunks.append("")
        else:
            chunks[-1] += re.escape(part)
    return chunks
