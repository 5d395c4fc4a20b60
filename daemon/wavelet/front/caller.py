"""The caller of a request: the owner of the connection and the login it sends.

Whom the daemon does not serve goes no further.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from wavelet.front.activity import WATCHERS
from wavelet.front.keys import CALLER, IDENTITY
from wavelet.front.listener import Connection
from wavelet.plan.identity import Login
from wavelet.requests.access import AccessRules, Caller
from wavelet.upstream.transport import PSEUDONYM


def caller_middleware(rules: AccessRules, key: bytes) -> Middleware:
    """Return the middleware. `key` keys the hash by which logins are told apart."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        uid = rules.over_http(_owner(request))
        if comes_from_wavelet(request.headers.getall(hdrs.VIA, [])):
            # Whoever makes a daemon ask itself, or another one, must not thereby speak as the daemon's uid.
            uid = None
        login = parse_basic(request.headers.get(hdrs.AUTHORIZATION))
        caller = Caller(uid, login, "" if login is None else _login_key(key, login))
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
