"""Who may read what at the registry double, and its token server (distribution's token specification)."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Doors:
    """The rules: users with passwords, what each may read, and what everybody may (patterns of repositories)."""

    scheme: str
    passwords: dict[str, str]
    may_read: dict[str, set[str]]
    public: set[str]
    realm: str
    lifetime: float = 300.0
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, tuple[str | None, float]] = field(default_factory=dict)
    issued: int = 0
    scopes: dict[str, str] = field(default_factory=dict)
    """What each token was asked for."""
    read_only: set[str] = field(default_factory=set)
    """Users that may push nothing."""
    with_nulls: bool = False
    """Whether a token is in `access_token`, as OAuth2 has it, and the other members are null."""

    def revoke(self, user: str) -> None:
        """Take everything from a user: what it may read, and its tokens."""
        self.may_read[user] = set()
        self.tokens = {token: held for token, held in self.tokens.items() if held[0] != user}

    def expire(self) -> None:
        """Let all tokens given so far end."""
        self.tokens.clear()

    def readable(self, user: str | None, repository: str) -> bool:
        """Tell whether a user, or nobody, may read a repository."""
        patterns = self.public | (self.may_read.get(user, set()) if user is not None else set())
        return any(fnmatch.fnmatch(repository, pattern) for pattern in patterns)

    def refusal(self, request: web.Request, repository: str | None) -> tuple[int, dict[str, str]] | None:
        """Return status and headers of the refusal of a request, or None if it is let through."""
        header = request.headers.get("Authorization", "")
        kind, _, value = header.partition(" ")
        pushes = request.method not in ("GET", "HEAD")
        if self.scheme == "basic":
            challenge = 'Basic realm="the double"'
            user = self.user_of(value) if kind == "Basic" else None
            known = user is not None
        else:
            actions = "pull,push" if pushes else "pull"
            scope = f',scope="repository:{repository}:{actions}"' if repository else ""
            challenge = f'Bearer realm="{self.realm}",service="double"{scope}'
            user, expires = self.tokens.get(value, (None, 0.0)) if kind == "Bearer" else (None, 0.0)
            known = expires > time.monotonic() and (not pushes or self._may_push(value, user, request))
        if repository is None:
            return None if known else (401, {"WWW-Authenticate": challenge})
        if pushes and known and user in self.read_only:
            return 403, {}
        if (known or self.scheme == "basic") and self.readable(user if known else None, repository):
            return None
        return (403, {}) if known and self.scheme == "basic" else (401, {"WWW-Authenticate": challenge})

    def _may_push(self, token: str, user: str | None, request: web.Request) -> bool:
        """Tell whether a token is for a push, and for reading what a blob is mounted from."""
        scopes = self.scopes.get(token, "").split()
        source = request.query.get("from")
        mounts = source is None or (f"repository:{source}:pull" in scopes and self.readable(user, source))
        return mounts and any(scope.endswith(",push") for scope in scopes) and user not in self.read_only

    def user_of(self, encoded: str) -> str | None:
        """Return the user of Basic credentials that are right."""
        try:
            name, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return name if self.passwords.get(name) == password else None

    async def token(self, request: web.Request) -> web.Response:
        """Answer a request for a token: GET with Basic or nothing, POST with a refresh token (OAuth2)."""
        user: str | None = None
        scope = " ".join(request.query.getall("scope", []))
        if request.method == "POST":
            form = await request.post()
            scope = str(form.get("scope", ""))
            user = self.refresh_tokens.get(str(form.get("refresh_token", "")))
            if form.get("grant_type") != "refresh_token" or user is None:
                return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        elif "Authorization" in request.headers:
            user = self.user_of(request.headers["Authorization"].partition(" ")[2])
            if user is None:
                return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        token = secrets.token_hex(16)
        self.tokens[token] = (user, time.monotonic() + self.lifetime)
        self.scopes[token] = scope
        self.issued += 1
        if self.with_nulls:
            return web.json_response({"token": None, "access_token": token, "expires_in": None, "issued_at": None})
        return web.json_response({"token": token, "expires_in": self.lifetime})


def doors(
    scheme: str, users: Mapping[str, tuple[str, Iterable[str]]], public: Iterable[str], realm: str, lifetime: float
) -> Doors:
    """Make the rules: `users` maps a name to a password and patterns of repositories."""
    return Doors(
        scheme,
        {name: password for name, (password, _) in users.items()},
        {name: set(patterns) for name, (_, patterns) in users.items()},
        set(public),
        realm,
        lifetime,
    )
