"""One question to one server with one login: the slot at its host, the token, the repetitions.

The answer comes back whatever its status, but for "not now": that is repeated here, and is an error in the end.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import weakref
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import msgspec

from wavelet import foreign_json
from wavelet.config import ConfigError, Settings
from wavelet.errors import UpstreamBroken, UpstreamBusy, UpstreamError, UpstreamUnreachable, WaveletError
from wavelet.foreign_json import ForeignJsonError
from wavelet.plan.identity import Login
from wavelet.upstream.addresses import AddressPolicy
from wavelet.upstream.auth import Tokens, TokenScope, basic
from wavelet.upstream.encodings import codings
from wavelet.upstream.endpoints import Endpoint, address_of, fixed_scheme, settings_for
from wavelet.upstream.retry import USUAL_RETRY_AFTER, ConnectionBroke, is_passing, repeated, retry_after
from wavelet.upstream.transport import (
    ERROR_BODY_LIMIT,
    Request,
    Transport,
    printable,
    read_small,
    server_of,
)

SLOT_TIMEOUT = 600.0
"""Seconds that a request waits until one of the others to its host ends."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a repository: `/v2/<repository>/<rest>`. Without `rest`, `/v2/` itself."""

    kind: str
    method: str
    rest: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class HostLimiter:
    """How many requests one host gets at a time. An answer holds its slot until its body is read.

    Transfers have limiter of their own: many slow ones must not hold up what takes a moment, such as a manifest.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: weakref.WeakValueDictionary[tuple[str, bool], asyncio.Semaphore] = weakref.WeakValueDictionary()

    def adopt(self, settings: Settings) -> None:
        """Count by other settings; what runs keeps the limiter that it has, besides."""
        self._settings = settings
        self._held = weakref.WeakValueDictionary()

    async def take(self, host: str, *, transfer: bool) -> asyncio.Semaphore:
        """Wait for a slot and return what to release.

        Raises:
            UpstreamBusy: none came free in time.
        """
        slot = self._held.get((host, transfer))
        if slot is None:
            slot = self._held[host, transfer] = asyncio.Semaphore(settings_for(self._settings, host).concurrency)
        try:
            async with asyncio.timeout(SLOT_TIMEOUT):
                await slot.acquire()
        except TimeoutError:
            raise UpstreamBusy(
                f"as many requests to {host} as it is set to get at one time have not ended",
                retry_after=USUAL_RETRY_AFTER,
            ) from None
        return slot


class Answer:
    """An answer with its body unread, and the slot it holds. To be closed, or used as a context."""

    def __init__(self, response: aiohttp.ClientResponse, slot: asyncio.Semaphore, endpoint: Endpoint) -> None:
        self.response = response
        self.status = response.status
        self.headers = response.headers
        self.endpoint = endpoint
        self._slot: asyncio.Semaphore | None = slot

    @property
    def is_own(self) -> bool:
        """Whether the registry itself has answered, and not a server that it redirected to."""
        return self.response.url.origin() == self.endpoint.base

    @property
    def is_encoded(self) -> bool:
        """Whether its body has a content coding, though none was asked for; its length is then that of other bytes."""
        return bool(codings(self.headers.get("Content-Encoding", "")))

    def close(self) -> None:
        """Give the connection and the slot back."""
        self.response.release()
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    async def read(self, limit: int) -> bytes:
        """Read the whole body, of at most `limit` bytes."""
        return await read_small(self.response, limit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        self._schemes: dict[str, str] = {}
        self._trials: dict[str, asyncio.Task[str]] = {}
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
            scheme = await self._tried_scheme(host)
        return address_of(host, scheme)

    async def _tried_scheme(self, host: str) -> str:
        """Try a host's schemes once for all who ask at the same time: thousands may wait for a host that is silent."""
        trial = self._trials.get(host)
        if trial is None:
            trial = self._trials[host] = asyncio.create_task(self._try_schemes(host))
            trial.add_done_callback(lambda done: self._tried(host, done))
        return await asyncio.shield(trial)

    def _tried(self, host: str, trial: asyncio.Task[str]) -> None:
        del self._trials[host]
        if not trial.cancelled() and trial.exception() is None:
            self._schemes[host] = trial.result()

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
            return await repeated(lambda: self._send(endpoint, path, call, login), attempts)
        except ConnectionBroke:
            raise
        except UpstreamUnreachable:
            self._schemes.pop(endpoint.host, None)
            raise

    async def _send(self, endpoint: Endpoint, path: str, call: Call, login: Login | None) -> Answer:
        slot = await self._limiter.take(endpoint.host, transfer=call.kind == "blob" and call.method == "GET")
        try:
            answer = Answer(await self._authorized(endpoint, path, call, login), slot, endpoint)
        except BaseException:
            slot.release()
            raise
        # Servers that do not know HEAD fail over it: whether that passes, the GET after it shows.
        if is_passing(answer.status) and (call.method, answer.status) != ("HEAD", 500):
            async with answer:
                raise await _not_now(answer)
        return answer

    async def _authorized(
        self, endpoint: Endpoint, path: str, call: Call, login: Login | None
    ) -> aiohttp.ClientResponse:
        scope = TokenScope(
            endpoint.host, endpoint.base, endpoint.path(path) if path else "", self._policy, self._tls(endpoint)
        )
        first = await self._first(endpoint, scope, login)
        response = await self._transport.send(self._request(endpoint, path, call, first))
        if response.status != 401 or response.url.origin() != endpoint.base:
            return response
        try:
            second = await self._tokens.answer(scope, login, response.headers.getall("WWW-Authenticate", ()), first)
            if second is None:
                return response
        except BaseException:
            response.close()
            raise
        response.close()
        return await self._transport.send(self._request(endpoint, path, call, second))

    async def _first(self, endpoint: Endpoint, scope: TokenScope, login: Login | None) -> str | None:
        known = await self._tokens.known(scope, login)
        always = self._shows_login or settings_for(self._settings, endpoint.host).credentials == "always"
        if known is not None or login is None or not always:
            return known
        # Where anonymous pulls count, even the request that asks for the challenge must not be one.
        response = await self._transport.send(self._request(endpoint, "", Call("ping", "GET", ""), None))
        response.close()
        if response.status != 401:
            return basic(login) if login.username else None
        return await self._tokens.answer(scope, login, response.headers.getall("WWW-Authenticate", ()), None)

    def _tls(self, endpoint: Endpoint) -> ssl.SSLContext | bool:
        return self._trust.get(endpoint.host, True)

    def _request(self, endpoint: Endpoint, path: str, call: Call, authorization: str | None) -> Request:
        url = endpoint.url(path, call.rest, call.query) if call.rest else endpoint.base.with_path("/v2/")
        # Blobs are compared with their digests; what a tag is may be said by nobody but the registry.
        may = call.kind == "blob"
        return Request(
            call.kind, call.method, url, self._policy, call.headers, authorization, self._tls(endpoint),
            plain_redirects=may and settings_for(self._settings, endpoint.host).plain_redirects,
            setting=f"upstream.registries.{endpoint.host}.plain_redirects" if may else "",
        )  # fmt: skip


def load_trust(settings: Settings) -> dict[str, ssl.SSLContext]:
    """Read the authorities of the registries that have their own, beside the system's. Blocks.

    Raises:
        ConfigError: a file is not there or holds no certificate.
    """
    contexts: dict[str, ssl.SSLContext] = {}
    for host, registry in settings.upstream.registries.items():
        if registry.ca_file:
            key = f"upstream.registries.{host}.ca_file"
            try:
                contexts[host] = ssl.create_default_context()
                contexts[host].load_verify_locations(registry.ca_file)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{key}: {registry.ca_file} cannot be used: {error}", field=key) from None
    return contexts


class _Error(msgspec.Struct):
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[object] = []


async def words_of(answer: Answer) -> str:
    """Return what the server says of its refusal, in parentheses, or nothing; it is cut and made printable."""
    try:
        body = await read_small(answer.response, ERROR_BODY_LIMIT, cut=True)
        errors = foreign_json.decode(body, _Errors).errors
    except (UpstreamError, ForeignJsonError):
        return ""
    words = printable(next((error.message for error in foreign_json.each(errors, _Error) if error.message), ""))
    return f" ({words})" if words else ""


async def raise_for(answer: Answer, missing: WaveletError) -> NoReturn:
    """Raise what a status other than success means; `missing` for 404 and 410."""
    if answer.status in (404, 410):
        raise missing
    words = await words_of(answer)
    raise UpstreamBroken(f"{server_of(answer.response.url)} answers {answer.status}{words}")


async def _not_now(answer: Answer) -> UpstreamBusy:
    asked = retry_after(answer.headers.get("Retry-After"), time.time())
    words = await words_of(answer)
    return UpstreamBusy(f"{answer.endpoint.host} answers {answer.status}, not now{words}", retry_after=asked)
