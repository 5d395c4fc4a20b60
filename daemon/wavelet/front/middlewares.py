"""Middlewares of the HTTP doors: foreign pages are refused, callers become identities, errors get a form.

No answer carries CORS headers, so that pages cannot read what they would get either.

Whom the daemon does not serve goes no further.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import ipaddress
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from wavelet.config import Apply, Settings
from wavelet.errors import ForeignRequest, MethodRefused, NotFound, WaveletError
from wavelet.front.connections import WATCHERS
from wavelet.front.keys import CALLER, IDENTITY
from wavelet.front.listener import Connection
from wavelet.front.registry.routes import error_response
from wavelet.front.wave.answers import message_response
from wavelet.plan.tokens import Login
from wavelet.requests.access import AccessRules, Caller
from wavelet.upstream.addresses import is_loopback
from wavelet.upstream.transport import PSEUDONYM

_AUTHORITY = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::\d{1,5})?")


class Guard:
    """Knows by which names the daemon may be called."""

    def __init__(self, settings: Settings) -> None:
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: the names."""
        names = own_names(settings)

        def apply() -> None:
            self._names = names

        return apply

    @web.middleware
    async def refuse_foreign(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raise ForeignRequest, or let a request pass; a middleware that answers errors has to stand before it."""
        if hdrs.ORIGIN in request.headers:
            raise ForeignRequest("requests of web pages (those with an Origin header) are not served")
        # Without a Host it is HTTP/1.0, which no browser speaks; HTTP/1.1 without one is malformed.
        host = request.headers.get(hdrs.HOST)
        if host is not None and not is_own(host, self._names):
            raise ForeignRequest(
                f"{host[:100]!a} is not a name of this daemon; call it by its address, or add the name to `hosts`"
            )
        return await handler(request)


def own_names(settings: Settings) -> frozenset[str]:
    """Return the host names by which the settings let the daemon be called."""
    hosts = (host_of(authority) for authority in (settings.name_authority, *settings.hosts))
    return frozenset(host for host in hosts if host is not None)


@functools.lru_cache(maxsize=64)
def is_own(authority: str, names: frozenset[str]) -> bool:
    """Tell whether a Host header names this daemon: an address (no name to rebind), localhost, or one of `names`."""
    host = host_of(authority)
    if host is None:
        return False
    return host in names or host == "localhost" or host.endswith(".localhost") or _is_address(host)


def host_of(authority: str) -> str | None:
    """Return the host of `HOST`, `HOST:PORT` or `[IPv6]:PORT`, in lower case, without a final dot; None: malformed."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    return (found["literal"] or found["host"]).lower().removesuffix(".") or None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def caller_middleware(rules: AccessRules, key: bytes) -> Middleware:
    """Return the middleware. `key` keys the hash by which logins are told apart."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        owner = _owner(request)
        through_wavelet = comes_from_wavelet(request.headers.getall(hdrs.VIA, []))
        # Whoever makes a daemon ask itself, or another one, must not thereby speak as the daemon's uid.
        uid = None if through_wavelet else rules.over_http(owner)
        hidden = (through_wavelet or owner is None) and _is_of_this_node(request)
        login = parse_basic(request.headers.get(hdrs.AUTHORIZATION))
        caller = Caller(uid, login, "" if login is None else _login_key(key, login), hidden)
        rules.admit(caller)
        request[CALLER] = caller
        request[IDENTITY] = rules.request_identity(caller)
        return await handler(request)

    return middleware


def _owner(request: web.Request) -> int | None:
    """Return the local user at the other end of the connection.

    Raises:
        AccessRefused: the kernel does not say who it is.
    """
    connection = request.protocol
    if not isinstance(connection, Connection):
        return None
    # Watchers ask for what everybody may know, and have to learn of a daemon whose kernel says nothing.
    if connection.refusal is not None and request.path not in WATCHERS:
        raise connection.refusal.with_traceback(None)
    return connection.peer_uid


def comes_from_wavelet(via: list[str]) -> bool:
    """Tell whether `Via` headers say that a request has passed through a wavelet (RFC 9110, 7.6.3)."""
    entries = [entry.split() for header in via for entry in header.split(",")]
    return any(PSEUDONYM in entry for entry in entries)


def _is_of_this_node(request: web.Request) -> bool:
    return request.remote is not None and is_loopback(request.remote)


def parse_basic(header: str | None) -> Login | None:
    """Return the login of a Basic `Authorization` header (RFC 7617); other schemes are no login of ours."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8
        return None
    return Login(username, secret) if colon and username else None


def _login_key(key: bytes, login: Login) -> str:
    return hmac.new(key, f"login\0{login.username}\0{login.secret}".encode(), hashlib.sha256).hexdigest()[:32]


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the errors of the middlewares behind this one, and for routes that there are not."""
    try:
        return await handler(request)
    except WaveletError as error:
        return _answer(request, error)
    except web.HTTPNotFound:
        return _answer(request, NotFound(f"no such route: {request.path[:300]!a}"))
    except web.HTTPMethodNotAllowed as error:
        answer = _answer(request, MethodRefused(f"{request.path[:300]!a} does not take {request.method}"))
        answer.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
        return answer


def _answer(request: web.Request, error: WaveletError) -> web.Response:
    return error_response(error) if request.path.startswith("/v2") else message_response(error)
