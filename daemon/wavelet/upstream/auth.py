"""Logins on the wire: Basic, and Bearer tokens from a registry's token server (distribution's token specification).

Tokens are held in memory until they expire. A token server is asked only if it belongs to the registry (`realm`), so
that a login reaches nobody but whom it is for; and a token is shown to no server but the one it was got for.
"""

from __future__ import annotations

import base64
import math
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from cachetools import LRUCache, TLRUCache
from yarl import URL

from wavelet import foreign_json
from wavelet.concurrency import SingleFlight
from wavelet.errors import InvalidRequest, UpstreamBroken, UpstreamBusy
from wavelet.foreign_json import ForeignJsonError
from wavelet.plan.tokens import Login
from wavelet.upstream import realm as realms
from wavelet.upstream.addresses import PUBLIC_ONLY, AddressPolicy
from wavelet.upstream.bodies import ERROR_BODY_LIMIT, read_small
from wavelet.upstream.retry import is_passing, retry_after
from wavelet.upstream.token_scope import Challenge, TokenScope, parse_challenges
from wavelet.upstream.transport import Request, Transport, server_of

REMEMBERED = 1024
"""Tokens, and challenges, that are held at one time."""

DEFAULT_LIFETIME = 60.0
"""Seconds that a token lives whose server does not say (distribution's token specification)."""

_LAST = 3
_SLACK = 5.0
_CLIENT = "wavelet"


class LoginError(Exception):
    """The token server gives no token for this login; for a registry that is the same as its own 401."""


@dataclass(frozen=True, slots=True)
class ResourceServer:
    """A server that wants tokens: where its 401 comes from, and under which policy they are had."""

    host: str
    base: URL
    policy: AddressPolicy
    tls: ssl.SSLContext | bool = field(default=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Question:
    """What a token server is asked; equal ones have the same token."""

    server: ResourceServer
    realm: str
    service: str
    scopes: tuple[str, ...]
    login: Login | None

    @classmethod
    def of(cls, server: ResourceServer, scope: TokenScope, challenge: Challenge, login: Login | None) -> _Question:
        return cls(server, challenge.realm, challenge.service, scope.asked(challenge), login)

    def request(self) -> Request:
        """Return the request for the token.

        Raises:
            UpstreamBroken: its server is not one that is asked for this registry.
        """
        server, login = self.server, self.login
        try:
            realm = URL(self.realm)
            why = realms.objection(server.base, realm, with_login=login is not None)
        except ValueError:
            raise UpstreamBroken(f"{server.host} names no token server") from None
        if why is not None:
            named = server_of(realm) or "nowhere"
            raise UpstreamBroken(f"{server.host} sends for tokens to {named}, which is not asked: {why}")
        foreign = realms.is_foreign(server.base, realm)
        policy = PUBLIC_ONLY if foreign else server.policy
        tls = True if foreign else server.tls
        members = {"service": self.service} if self.service else {}
        if login is not None and not login.username:
            scope = {"scope": " ".join(self.scopes)} if self.scopes else {}
            who = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": login.secret}
            form = members | scope | who
            return Request("token", "POST", realm, policy, tls=tls, form=form, redirects=False)
        shown = None if login is None else basic(login)
        url = realm.update_query(members | ({"scope": list(self.scopes)} if self.scopes else {}))
        return Request("token", "GET", url, policy, tls=tls, authorization=shown, redirects=False)


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    expires: float


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: object = None


class Tokens:
    """The tokens of this daemon, by what was asked for them: server, realm, service, scope and login."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._tokens: TLRUCache[_Question, _Token] = TLRUCache(
            REMEMBERED, ttu=lambda _question, token, _now: token.expires, timer=time.monotonic
        )
        self._challenges: LRUCache[tuple[ResourceServer, TokenScope], Challenge] = LRUCache(REMEMBERED)
        self._fetches: SingleFlight[_Question, _Token] = SingleFlight("token")

    async def known(self, server: ResourceServer, scope: TokenScope, login: Login | None) -> str | None:
        """Return the `Authorization` that is known to be right for `scope`, or None where it has to be asked for.

        Raises:
            LoginError: the token server refuses the login.
            UpstreamError: the token server fails.
        """
        challenge = self._challenges.get((server, scope))
        if challenge is None:
            return None
        held = self._tokens.get(_Question.of(server, scope, challenge, login))
        if held is not None:
            return held.header
        if login is None or _rank(challenge, server, login) == _LAST:
            return None
        return await self._show(server, scope, login, challenge)

    async def answer(
        self,
        server: ResourceServer,
        scope: TokenScope,
        login: Login | None,
        headers: Iterable[str],
        failed: str | None,
    ) -> str | None:
        """Return the `Authorization` that answers a 401 with these `WWW-Authenticate` headers; None if there is none.

        `failed` is the one that brought the 401. It is forgotten, and not returned again.

        Raises:
            LoginError, UpstreamError: as `known`.
        """
        known = [each for each in parse_challenges(headers) if each.scheme in ("bearer", "basic")]
        chosen = min(known, key=lambda challenge: _rank(challenge, server, login), default=None)
        for challenge in (self._challenges.get((server, scope)), chosen):
            if challenge is not None:
                self._forget(_Question.of(server, scope, challenge, login), failed)
        if chosen is None:
            return None
        self._challenges[server, scope] = chosen
        header = await self._show(server, scope, login, chosen)
        return None if header == failed else header

    def _forget(self, question: _Question, failed: str | None) -> None:
        held = self._tokens.get(question)
        if held is not None and held.header == failed:
            self._tokens.pop(question, None)

    async def _show(
        self, server: ResourceServer, scope: TokenScope, login: Login | None, challenge: Challenge
    ) -> str | None:
        if challenge.scheme == "basic":
            return basic(login) if login is not None and login.username else None
        question = _Question.of(server, scope, challenge, login)
        token = self._tokens.get(question)
        if token is None:
            token = await self._fetches.run(question, lambda: self._fetch(question))
        return token.header

    async def _fetch(self, question: _Question) -> _Token:
        request, host = question.request(), question.server.host
        started = time.monotonic()
        try:
            response = await self._transport.send(request)
        except InvalidRequest as error:
            raise UpstreamBroken(f"{host} sends for tokens where nothing is asked: {error.message}") from None
        async with response:
            server, status = server_of(request.url), response.status
            if is_passing(status):
                asked = retry_after(response.headers.get("Retry-After"), time.time())
                message = f"{server}, which has the tokens of {host}, answers {status}, not now"
                raise UpstreamBusy(message, retry_after=asked)
            if status >= 400:
                raise LoginError(f"{server} answers {status}")
            body = await read_small(response, ERROR_BODY_LIMIT)
        token = _read(body, started)
        if status != 200 or token is None:
            raise UpstreamBroken(f"{server} answers something that is not a token for {host}")
        self._tokens[question] = token
        return token


def _read(body: bytes, now: float) -> _Token | None:
    """Read a token server's answer; `now` is when it was asked, on the monotonic clock. None if it is no token."""
    try:
        answer = foreign_json.decode(body, _Answer)
    except ForeignJsonError:
        return None
    text = answer.token or answer.access_token
    if not text or not (text.isascii() and text.isprintable()):
        return None
    lifetime = foreign_json.convert(answer.expires_in, float) or 0.0
    lifetime = lifetime if 0 < lifetime < math.inf else DEFAULT_LIFETIME
    return _Token(f"Bearer {text}", now + max(lifetime - _SLACK, lifetime / 2))


def _rank(challenge: Challenge, server: ResourceServer, login: Login | None) -> int:
    """Return the place of a challenge among several: tokens first, but not of a server that would not be asked."""
    if not challenge.realm or challenge.scheme == "basic":
        return 1 if challenge.realm else 2
    try:
        return _LAST if realms.objection(server.base, URL(challenge.realm), with_login=login is not None) else 0
    except ValueError:
        return _LAST


def basic(login: Login) -> str:
    """Return the `Authorization` of the Basic scheme (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
