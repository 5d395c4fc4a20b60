"""The registry session: one question to one server with one login; its slot at the host, its token, its repetitions.

The answer comes back whatever its status, but for "not now": that is repeated here, and is an error in the end.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

import aiohttp
from cachetools import LRUCache
from yarl import URL

from wavelet.concurrency import SingleFlight
from wavelet.config import Settings
from wavelet.errors import UpstreamBroken, UpstreamError, UpstreamUnreachable
from wavelet.plan.tokens import Login
from wavelet.upstream.addresses import AddressPolicy
from wavelet.upstream.auth import ResourceServer, Tokens, basic
from wavelet.upstream.endpoints import Endpoint, address_of, fixed_scheme, private_allowed, settings_for
from wavelet.upstream.request_body import Body
from wavelet.upstream.retry import ConnectionBroke, HostLimiter, Traffic, is_passing, repeated
from wavelet.upstream.streams import Answer, not_now
from wavelet.upstream.token_scope import PULL, Actions, TokenScope
from wavelet.upstream.transport import Request, Transport

SMALL_BODY = 64 * 1024
"""Bytes up to which a body counts as no transfer."""

SCHEMES_HELD = 1024
"""Loopback registries of which it is remembered what they speak; their names come from requests."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a repository: `/v2/<repository>/<rest>`. Without `rest`, `/v2/` itself.

    Attributes:
        kind: what is asked for, for metrics and logs.
        actions: what a token has to allow for it.
        body: what is sent.
        at: where it is asked instead, as an upload that has begun; a login is shown at the registry's origin only.
        mounts: the repository that a blob is mounted from, which a token has to allow to be read.
    """

    kind: str
    method: str
    rest: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    actions: Actions = PULL
    body: Body | None = None
    at: URL | None = None
    mounts: str = ""

    @property
    def is_push(self) -> bool:
        """Whether it is part of a push."""
        return "push" in self.actions

    @property
    def traffic(self) -> Traffic:
        """Among which of a host's requests it counts."""
        if self.body is not None and self.body.size > SMALL_BODY:
            return "upload"
        return "download" if self.kind == "blob" and self.method == "GET" else "other"


class RegistrySession:
    """Questions to registries under one address policy; with `shows_login`, a login is shown unasked."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        limiter: HostLimiter,
        policy: AddressPolicy,
        *,
        shows_login: bool = False,
    ) -> None:
        self._shows_login = shows_login
        self._settings = settings
        self._transport = transport
        self._limiter = limiter
        self._policy = policy
        self._tokens = Tokens(transport)
        self._schemes: LRUCache[str, str] = LRUCache(SCHEMES_HELD)
        # Thousands may wait for a host that is silent: its schemes are tried once for all of them.
        self._trials: SingleFlight[str, str] = SingleFlight("try the schemes of", keep=True)
        self._trust: dict[str, ssl.SSLContext] = {}

    def adopt(self, settings: Settings, contexts: dict[str, ssl.SSLContext], policy: AddressPolicy) -> None:
        """Ask by these settings from now on; `contexts` are for the registries that have their own authority."""
        self._settings = settings
        self._trust = contexts
        self._policy = policy

    async def endpoint(self, host: str) -> Endpoint:
        """Return the registry's own address; whether one on loopback speaks http is tried out and remembered.

        Raises:
            UpstreamUnreachable: nothing listens there.
        """
        scheme = fixed_scheme(settings_for(self._settings, host), host) or self._schemes.get(host)
        if scheme is None:
            scheme = self._schemes[host] = await self._trials.run(host, lambda: self._try_schemes(host))
        return address_of(host, scheme)

    async def _try_schemes(self, host: str) -> str:
        """Ask by http first: a TLS server answers that at once, an http server may wait for more of a TLS hello."""
        call = Call("ping", "GET", "")
        try:
            response = await self._transport.send(self._request(address_of(host, "http"), "", call, None))
        except (UpstreamBroken, ConnectionBroke) as error:
            why: UpstreamError = error
        else:
            status = response.status
            response.close()
            if status != 400:
                return "http"
            why = UpstreamBroken(f"{host} answers {status} to http and does not speak https")
        try:
            response = await self._transport.send(self._request(address_of(host, "https"), "", call, None))
        except UpstreamUnreachable as error:
            if "certificate" in error.message:
                raise
            raise why from None
        response.close()
        return "https"

    async def send(self, endpoint: Endpoint, path: str, call: Call, login: Login | None, *, attempts: int) -> Answer:
        """Ask, at most `attempts` times while the server says "not now".

        Raises:
            UpstreamUnreachable: no connection, or no answer in time.
            UpstreamBusy: still 408, 429 or 5xx; `retry_after` says when to come again.
            UpstreamBroken: not the protocol.
        """
        try:
            return await repeated(lambda: self.send_once(endpoint, path, call, login), attempts)
        except ConnectionBroke:
            raise
        except UpstreamUnreachable:
            self._schemes.pop(endpoint.host, None)
            raise

    async def send_once(self, endpoint: Endpoint, path: str, call: Call, login: Login | None) -> Answer:
        """Ask once; for what cannot simply be repeated. See `send`."""
        slot = await self._limiter.take(endpoint.host, call.traffic)
        try:
            answer = Answer(await self._authorized(endpoint, path, call, login), slot, endpoint)
        except BaseException:
            slot.release()
            raise
        # Servers that do not know HEAD fail over it: whether that passes, the GET after it shows.
        if is_passing(answer.status) and (call.method, answer.status) != ("HEAD", 500):
            async with answer:
                raise await not_now(answer)
        return answer

    async def _authorized(
        self, endpoint: Endpoint, path: str, call: Call, login: Login | None
    ) -> aiohttp.ClientResponse:
        server = ResourceServer(endpoint.host, endpoint.base, self._policy, self._tls(endpoint))
        scope = TokenScope(endpoint.path(path) if path else "", call.actions, call.mounts)
        first = await self._first(endpoint, server, scope, login)
        response = await self._transport.send(self._request(endpoint, path, call, first))
        if response.status != 401 or response.url.origin() != endpoint.base:
            return response
        try:
            challenges = response.headers.getall("WWW-Authenticate", ())
            second = await self._tokens.answer(server, scope, login, challenges, first)
            if second is None:
                return response
        except BaseException:
            response.close()
            raise
        response.close()
        return await self._transport.send(self._request(endpoint, path, call, second))

    async def _first(
        self, endpoint: Endpoint, server: ResourceServer, scope: TokenScope, login: Login | None
    ) -> str | None:
        known = await self._tokens.known(server, scope, login)
        always = self._shows_login or settings_for(self._settings, endpoint.host).credentials == "always"
        if known is not None or login is None or not always:
            return known
        # Where anonymous pulls count, even the request that asks for the challenge must not be one.
        response = await self._transport.send(self._request(endpoint, "", Call("ping", "GET", ""), None))
        response.close()
        if response.status != 401:
            return basic(login) if login.username else None
        challenges = response.headers.getall("WWW-Authenticate", ())
        return await self._tokens.answer(server, scope, login, challenges, None)

    def _tls(self, endpoint: Endpoint) -> ssl.SSLContext | bool:
        return self._trust.get(endpoint.host, True)

    def _request(self, endpoint: Endpoint, path: str, call: Call, authorization: str | None) -> Request:
        url = call.at or (endpoint.url(path, call.rest, call.query) if call.rest else endpoint.base.with_path("/v2/"))
        if url.origin() != endpoint.base:
            authorization = None
        # A registry of somebody's choice sends bytes of his choice where its uploads go on.
        elsewhere = AddressPolicy(private=private_allowed(self._settings)) if call.is_push else None
        policy = self._policy if elsewhere is None or url.host == endpoint.base.host else elsewhere
        # Blobs are compared with their digests; what a tag is may be said by nobody but the registry.
        may = call.kind == "blob"
        return Request(
            call.kind, call.method, url, policy, call.headers, authorization, self._tls(endpoint),
            body=call.body, plain_redirects=may and settings_for(self._settings, endpoint.host).plain_redirects,
            setting=f"upstream.registries.{endpoint.host}.plain_redirects" if may else "",
            elsewhere=elsewhere,
        )  # fmt: skip
