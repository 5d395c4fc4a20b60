"""What a request to Wave's API says beside its body: tokens and ids in its path, and its query."""

from __future__ import annotations

import re
from typing import Literal

from aiohttp import web

from wavelet.errors import InvalidRequest, TokenNotFound
from wavelet.front.keys import IDENTITY
from wavelet.image.reference import Platform, normalise, valid_host
from wavelet.plan.tokens import Identity, well_formed

_TEXT_LIMIT = 64
_BUILD = re.compile(r"bd-(?P<token>[0-9a-f]{32})(?:_[0-9]{1,9})?")
_MIRROR = re.compile(r"mr-(?P<token>[0-9a-f]{32})(?:_[0-9]{1,9})?")


def flag(request: web.Request, name: str) -> bool:
    """Return a parameter of the query that is true or false; without it, false.

    Raises:
        InvalidRequest: it is something else.
    """
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name}: {text[:60]!r} is neither true nor false", field=name)
    return text == "true"


def identity_of(request: web.Request) -> Identity:
    """Return who asks."""
    identity: Identity = request[IDENTITY]
    return identity


def token_of(request: web.Request) -> str:
    """Return the token in the path."""
    token = request.match_info["token"]
    if not well_formed(token):
        raise unknown("container request", token)
    return token


def build_of(request: web.Request) -> tuple[str, str]:
    """Return a build's id and the token in it: builds are container requests under another name."""
    build = request.match_info["build"]
    found = _BUILD.fullmatch(build)
    if found is None:
        raise unknown("build", build)
    return build, found["token"]


def mirror_of(request: web.Request) -> str:
    """Return the token in the id of a copy."""
    mirror = request.match_info["mirror"]
    found = _MIRROR.fullmatch(mirror)
    if found is None:
        raise unknown("mirror", mirror)
    return found["token"]


def unknown(kind: Literal["container request", "build", "mirror"], name: str) -> TokenNotFound:
    """Return the error of a token or id that nothing is known by."""
    return TokenNotFound(f"no {kind} is known as {name[:_TEXT_LIMIT]!r}; ask for the container again")


def single_platform(text: str | None) -> Platform | None:
    """Return the platform that a query names; None: it names none."""
    if not text:
        return None
    if "," in text:
        raise InvalidRequest("platform: one platform is inspected at a time; name a single one", field="platform")
    return Platform.parse(text, "platform")


def filled(text: str | None, field: str) -> str:
    """Return a member that has to say something."""
    if text is None or not text.strip():
        raise InvalidRequest(f"{field}: is missing; userName, password and registry are needed", field=field)
    return text


def registry_host(text: str) -> str:
    """Return the host of a registry, as it is called here."""
    host = text.strip().rstrip("/")
    if "://" in host or not valid_host(host):
        message = f"registry: {text[:_TEXT_LIMIT]!r} is not a registry host; it takes HOST or HOST:PORT, without scheme"
        raise InvalidRequest(message, field="registry")
    return normalise(host, "library/any")[0]
