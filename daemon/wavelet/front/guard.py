"""The guard against what a web page may be led to send: a foreign Host (DNS rebinding), or any Origin.

No answer carries CORS headers, so that pages cannot read what they would get either.
"""

from __future__ import annotations

import functools
import ipaddress
import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from wavelet.config import Apply, Settings
from wavelet.errors import ForeignRequest

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
