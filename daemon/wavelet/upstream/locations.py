"""URLs that container requests name: fetched without any login, under the address policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from wavelet.errors import AccessRefused, InvalidRequest, NotFound, UpstreamBroken
from wavelet.upstream import streams
from wavelet.upstream.addresses import AddressPolicy, literal
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.retry import HostLimiter
from wavelet.upstream.streams import Answer, Stream, open_stream, wanted
from wavelet.upstream.transport import Request, Transport, shown

_GRANTED = Granted(public=True, by="anonymous")
_URL_LIMIT = 8192


class Locations:
    """Opens URLs of requests; `policy` may be set at any time."""

    def __init__(self, transport: Transport, limiter: HostLimiter, policy: AddressPolicy) -> None:
        self._transport = transport
        self._limiter = limiter
        self.policy = policy

    @asynccontextmanager
    async def open(self, text: str, offset: int) -> AsyncIterator[Stream]:
        """See `Upstream.location`."""
        url = parse(text)
        answer = await self._send(url, offset)
        if answer.status == 416 and offset:
            answer.close()
            answer = await self._send(url, 0)
            offset = 0
        async with answer:
            if answer.status not in (200, 206):
                raise _error(url, answer.status)
            yield open_stream(answer, offset, _GRANTED, lambda: None)

    async def _send(self, url: URL, offset: int) -> Answer:
        request = Request("location", "GET", url, self.policy, wanted(offset))
        return await streams.get(self._transport, self._limiter, lambda: request)


def parse(text: str) -> URL:
    """Read a URL that may be fetched.

    Raises:
        InvalidRequest: not http or https, no host, or one with a login, which would be kept with the request.
    """
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and len(text) <= _URL_LIMIT
    except ValueError:
        usable = False
    if not usable:
        raise InvalidRequest(f"{text[:200]!r} is not an http or https URL")
    if url.user is not None or url.password is not None:
        raise InvalidRequest(f"leave user name and password out of the URL {shown(url)}; nobody's login is sent there")
    address = literal(url.host or "")
    if address is not None and "." not in (url.host or "") and ":" not in (url.host or ""):
        raise InvalidRequest(f"{shown(url)} names its host by a number; write the address as {address}")
    return url.with_fragment(None)


def _error(url: URL, status: int) -> NotFound | AccessRefused | UpstreamBroken:
    if status in (404, 410):
        return NotFound(f"there is nothing at {shown(url)} (it answers {status})")
    if status in (401, 403):
        return AccessRefused(f"{shown(url)} refuses access (it answers {status})", declined=status == 403)
    return UpstreamBroken(f"{shown(url)} answers {status}")
