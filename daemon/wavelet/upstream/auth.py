"""Logins on the wire: Basic, and Bearer tokens from a registry's token server (distribution's token specification).

Tokens are held in memory until they expire. A token server is asked only if it belongs to the registry (`realm`), so
that a login reaches nobody but whom it is for.
"""

from __future__ import annotations

import asyncio
import base64
import math
import ssl
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from yarl import URL

from wavelet import foreign_json
from wavelet.errors import InvalidRequest, UpstreamBroken, UpstreamBusy
from wavelet.foreign_json import ForeignJsonError
from wavelet.plan.identity import Login
from wavelet.upstream import realm as realms
from wavelet.upstream.addresses import PUBLIC_ONLY, AddressPolicy
from wavelet.upstream.realm import Challenge
from wavelet.upstream.retry import is_passing, retry_after
from wavelet.upstream.transport import ERROR_BODY_LIMIT, Request, Transport, read_small, server_of

REMEMBERED = 1024
"""Tokens and challenges that are held at one time."""

DEFAULT_LIFETIME = 60.0
"""Seconds that a token lives whose server does not say (distribution's token specification)."""

_LAST = 3
_SLACK = 5.0
_CLIENT = "wavelet"
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class LoginError(Exception):
    """The token server gives no token for this login; for a registry that is the same as its own 401."""


@dataclass(frozen=True, slots=True)
class TokenScope:
    """A repository as one server guards it: where the 401 comes from, and under which policy its tokens are had."""

    host: str
    base: URL
    path: str
    policy: AddressPolicy
    tls: ssl.SSLContext | bool = field(default=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    expires: float


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: object = None


class Tokens:
    """The tokens of this daemon, by repository and login."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._tokens: dict[tuple[TokenScope, Login | None], _Token] = {}
        self._challenges: dict[TokenScope, Challenge] = {}
        self._locks: weakref.WeakValueDictionary[tuple[TokenScope, Login | None], asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    async def known(self, scope: TokenScope, login: Login | None) -> str | None:
        """Return the `Authorization` that is known to be right for `scope`, or None where it has to be asked for.

        Raises:
            LoginError: the token server refuses the login.
            UpstreamError: the token server fails.
        """
        held = self._held(scope, login)
        challenge = self._challenges.get(scope)
        if held is not None or login is None or challenge is None or _rank(challenge, scope, login) == _LAST:
            return held
        return await self._show(scope, login, challenge)

    async def answer(
        self, scope: TokenScope, login: Login | None, headers: Iterable[str], failed: str | None
    ) -> str | None:
        """Return the `Authorization` that answers a 401 with these `WWW-Authenticate` headers; None if there is none.

        `failed` is the one that brought the 401. It is forgotten, and not returned again.

        Raises:
            LoginError, UpstreamError: as `known`.
        """
        challenges = realms.parse_challenges(headers)
        known = [c for c in challenges if c.scheme in ("bearer", "basic")]
        chosen = min(known, key=lambda challenge: _rank(challenge, scope, login), default=None)
        held = self._tokens.get((scope, login))
        if held is not None and held.header == failed:
            del self._tokens[scope, login]
        if chosen is None:
            return None
        _put(self._challenges, scope, chosen)
        header = await self._show(scope, login, chosen)
        return None if header == failed else header

    def _held(self, scope: TokenScope, login: Login | None) -> str | None:
        token = self._tokens.get((scope, login))
        return token.header if token is not None and token.expires > time.monotonic() else None

    async def _show(self, scope: TokenScope, login: Login | None, challenge: Challenge) -> str | None:
        if challenge.scheme == "basic":
            return basic(login) if login is not None and login.username else None
        lock = self._locks.setdefault((scope, login), asyncio.Lock())
        async with lock:
            held = self._held(scope, login)
            if held is not None:
                return held
            token = await self._fetch(scope, login, challenge)
            _put(self._tokens, (scope, login), token)
            return token.header

    async def _fetch(self, scope: TokenScope, login: Login | None, challenge: Challenge) -> _Token:
        request = self._request(scope, login, challenge)
        started = time.monotonic()
        try:
            response = await self._transport.send(request)
        except InvalidRequest as error:
            raise UpstreamBroken(f"{scope.host} sends for tokens where nothing is asked: {error.message}") from None
        async with response:
            server, status = server_of(request.url), response.status
            if is_passing(status):
                asked = retry_after(response.headers.get("Retry-After"), time.time())
                message = f"{server}, which has the tokens of {scope.host}, answers {status}, not now"
                raise UpstreamBusy(message, retry_after=asked)
            if status >= 400:
                raise LoginError(f"{server} answers {status}")
            body = await read_small(response, ERROR_BODY_LIMIT)
        try:
            answer = foreign_json.decode(body, _Answer)
        except ForeignJsonError:
            answer = _Answer()
        text = answer.token or answer.access_token
        if status != 200 or not text or not (text.isascii() and text.isprintable()):
            raise UpstreamBroken(f"{server} answers something that is not a token for {scope.host}")
        lifetime = foreign_json.convert(answer.expires_in, float) or 0.0
        lifetime = lifetime if 0 < lifetime < math.inf else DEFAULT_LIFETIME
        return _Token(f"Bearer {text}", started + max(lifetime - _SLACK, lifetime / 2))

    def _request(self, scope: TokenScope, login: Login | None, challenge: Challenge) -> Request:
        try:
            realm = URL(challenge.realm)
            why = realms.objection(scope.base, realm, with_login=login is not None)
        except ValueError:
            raise UpstreamBroken(f"{scope.host} names no token server") from None
        if why is not None:
            server = server_of(realm) or "nowhere"
            raise UpstreamBroken(f"{scope.host} sends for tokens to {server}, which is not asked: {why}")
        members = {"service": challenge.service} if challenge.service else {}
        if scope.path:
            members["scope"] = realms.pull_scope(challenge, scope.path)
        policy = PUBLIC_ONLY if realms.is_foreign(scope.base, realm) else scope.policy
        tls = scope.tls if isinstance(scope.tls, bool) or not realms.is_foreign(scope.base, realm) else True
        if login is not None and not login.username:
            form = members | {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": login.secret}
            return Request("token", "POST", realm, policy, tls=tls, form=form, redirects=False)
        return Request(
            "token", "GET", realm.update_query(members), policy, tls=tls,
            authorization=None if login is None else basic(login), redirects=False,
        )  # fmt: skip


def _rank(challenge: Challenge, scope: TokenScope, login: Login | None) -> int:
    """Return the place of a challenge among several: tokens first, but not of a server that would not be asked."""
    if not challenge.realm or challenge.scheme == "basic":
        return 1 if challenge.realm else 2
    try:
        return _LAST if realms.objection(scope.base, URL(challenge.realm), with_login=login is not None) else 0
    except ValueError:
        return _LAST


def basic(login: Login) -> str:
    """Return the `Authorization` of the Basic scheme (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()


def _put(held: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    held.pop(key, None)
    while len(held) >= REMEMBERED:
        del held[next(iter(held))]
    held[key] = value
