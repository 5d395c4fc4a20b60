"""Channels of conda packages: their names, and their files from wherever they are kept.

A file is asked for at its channel's mirrors, in order, and then at the channel's own address; with the site's login for
that host, and with none elsewhere. Servers that the site's own configuration names count like registries; for all
others the address policy for URLs in requests holds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import structlog
from yarl import URL

from wavelet.config import Apply, Settings
from wavelet.errors import (
    AccessRefused,
    InvalidRequest,
    NotFound,
    UpstreamBroken,
    UpstreamError,
    UpstreamUnreachable,
    WaveletError,
)
from wavelet.kinds.conda.channels import site_files as channel_site
from wavelet.kinds.conda.channels.directory_channel import FileStream, open_file
from wavelet.kinds.conda.channels.logins import ChannelLogin
from wavelet.kinds.conda.channels.names import Chosen
from wavelet.upstream import streams
from wavelet.upstream.addresses import FOR_REGISTRIES, AddressPolicy
from wavelet.upstream.credential_sources import Granted
from wavelet.upstream.endpoints import private_allowed
from wavelet.upstream.fallback import MIRROR_REST, verdict
from wavelet.upstream.retry import ATTEMPTS, ExpiringSet, HostLimiter
from wavelet.upstream.streams import Answer, Stream, open_stream, wanted
from wavelet.upstream.transport import Request, Transport, server_of
from wavelet.upstream.trust import load_trust

FILES_LIFETIME = 60.0
"""Seconds after which it is looked whether the daemon user's files have changed."""

_GRANTED = Granted(public=True, by="the site")
_PACKAGES = (".conda", ".tar.bz2")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of a file an address has answered, in that server's own words (RFC 9110, 8.8).

    Attributes:
        address: who has answered; validators of one server mean nothing to another.
        etag: its `ETag`, or empty.
        modified: its `Last-Modified`, or empty.
    """

    address: str
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is coming: its bytes, which version it is, and its `Content-Encoding`, mostly empty."""

    stream: Stream
    version: Version
    encoding: str = ""


class Channels:
    """See the module. Used as a context, or until `close`."""

    def __init__(self, settings: Settings) -> None:
        """Read the files that this machine has about channels, and what the settings name. Blocks for a moment.

        Raises:
            ConfigError: see `configure`.
        """
        self._admitted: tuple[str, ...] = ()
        # An ordinary user's daemon on loopback serves that user; a root daemon, and the network, are others'.
        self._alone = os.geteuid() != 0 and settings.listens_on_loopback()
        self._looked = time.monotonic()
        self._transport = Transport()
        self._limiter = HostLimiter(settings)
        self._resting: ExpiringSet[str] = ExpiringSet()
        self.configure(settings)()

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: what channels are called, where they are, and which may be used.

        Raises:
            ConfigError: a setting of `conda` is wrong, or an authority cannot be read.
        """
        site = self._load(settings)
        trust = load_trust(settings)
        named = AddressPolicy(private=private_allowed(settings))

        def apply() -> None:
            self._settings, self._site, self._trust, self._named = settings, site, trust, named
            self._limiter.adopt(settings)

        return apply

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- names --------------------------------------------------------------------------------------------------------

    def resolve(self, names: Iterable[str]) -> Chosen:
        """Return the URLs of the channels that a request names: by name, URL or absolute path.

        `nodefaults` is left out, and `defaults` too unless the settings allow it; if nothing else is named, the
        settings' own channels are meant.

        Raises:
            InvalidRequest: one is no channel, or holds a login, which would be kept with the request.
            AccessRefused: one is not among those allowed.
        """
        return self._site.names.resolve(names)

    def check(self, package: str) -> None:
        """Return if the package at a URL may be used: its channel is one that may be.

        Raises:
            InvalidRequest, AccessRefused: as `resolve`.
        """
        self._site.names.check(package)

    def check_below(self, url: str) -> None:
        """Return if any file at `url` belongs to a channel that may be used.

        Raises:
            AccessRefused: it does not.
        """
        self._site.names.check_below(url)

    def admit(self, urls: Iterable[str]) -> None:
        """Count servers as the site's own, and take the logins that the URLs have: those of its package indexes.

        Blocks for a moment; meant for the start.
        """
        self._admitted = (*self._admitted, *urls)
        self._site = self._load(self._settings)

    def _load(self, settings: Settings) -> channel_site.Site:
        admitted = (*self._admitted, *settings.sif.sources)
        return channel_site.load(settings.conda, os.environ, admitted, alone=self._alone)

    def is_open(self, url: str) -> bool:
        """Tell whether everybody may have what is at a URL: it is a server's, which gets no login for it."""
        return url.startswith(("http://", "https://")) and self._login_for(_http_url(url)) is None

    def _login_for(self, url: URL) -> ChannelLogin | None:
        return self._site.logins.find(url, site=self._site.names.is_site(url))

    # -- files --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, url: str, offset: int = 0) -> AsyncIterator[Stream]:
        """Open a package or another file from `offset` on. Its bytes are not verified here.

        Raises:
            NotFound, AccessRefused, InvalidRequest: definite answers.
            UpstreamError: no answer.
        """
        async with self.fetch(url, offset) as fetched:
            assert fetched is not None
            yield fetched.stream

    @asynccontextmanager
    async def fetch(self, url: str, offset: int = 0, known: Version | None = None) -> AsyncIterator[Fetched | None]:
        """Open a file, or find that it is still the version that is known, which gives None.

        Raises:
            WaveletError: as `open`.
        """
        await self._look_at_files()
        if url.endswith(_PACKAGES):
            self._site.names.check(url)
        elif url.startswith("file:"):
            self._site.names.check_below(url)
        fetched = await self._from_anywhere(url, offset, known)
        try:
            yield fetched
        finally:
            if fetched is not None:
                await fetched.stream.close()

    async def _look_at_files(self) -> None:
        now = time.monotonic()
        if now - self._looked < FILES_LIFETIME:
            return
        self._looked = now
        if await asyncio.to_thread(channel_site.fingerprint, os.environ) != self._site.version:
            settings = self._settings
            site = await asyncio.to_thread(self._load, settings)
            if self._settings is settings:  # else others have come meanwhile, with a site of theirs
                self._site = site

    async def _from_anywhere(self, url: str, offset: int, known: Version | None) -> Fetched | None:
        mirrors = self._site.names.mirrors_of(url)
        only = bool(mirrors) and self._settings.upstream.mirrors_only
        passed: list[WaveletError] = []
        for mirror in mirrors:
            if _origin(mirror) in self._resting and not only:
                continue
            try:
                return await self._from(mirror, offset, known, attempts=ATTEMPTS if only else 1, mirror=True)
            except WaveletError as error:
                passed.append(error)
                _log.info("a mirror is passed over", mirror=mirror, because=error.message)
                if isinstance(error, UpstreamUnreachable) and not mirror.startswith("file:"):
                    self._rest(mirror)
        if only:
            raise verdict(passed, f"{url.partition('?')[0]} itself is not asked (upstream.mirrors_only)")
        try:
            return await self._from(url, offset, known, attempts=ATTEMPTS, mirror=False)
        except UpstreamError:
            # Where only mirrors can be reached, theirs is the last word: an index may be there in another form.
            missing = next((error for error in reversed(passed) if isinstance(error, NotFound)), None)
            if missing is not None:
                raise missing from None
            raise

    def _rest(self, mirror: str) -> None:
        self._resting.add(_origin(mirror), MIRROR_REST)

    async def _from(
        self, address: str, offset: int, known: Version | None, *, attempts: int, mirror: bool
    ) -> Fetched | None:
        if known is not None and known.address != address:
            known = None
        if address.startswith("file:"):
            return await _of_file(address, offset, known)
        url = _http_url(address)
        answer = await self._send(url, wanted(offset) | _unless(known), attempts)
        if answer.status == 416 and offset:
            answer.close()
            offset = 0
            answer = await self._send(url, {}, attempts)
        try:
            if answer.status == 304 and known is not None:
                answer.close()
                return None
            if answer.status not in (200, 206):
                raise _error(address, answer.status)
            stream = open_stream(answer, offset, _GRANTED, lambda: self._rest(address) if mirror else None)
        except BaseException:
            answer.close()
            raise
        headers = answer.headers
        version = Version(address, headers.get("ETag", ""), headers.get("Last-Modified", ""))
        encoding = headers.get("Content-Encoding", "")
        return Fetched(stream, version, "" if encoding == "identity" else encoding)

    async def _send(self, url: URL, headers: dict[str, str], attempts: int) -> Answer:
        return await streams.get(self._transport, self._limiter, lambda: self._request(url, headers), attempts=attempts)

    def _request(self, url: URL, headers: dict[str, str]) -> Request:
        site = self._site.names.is_site(url)
        login = self._login_for(url)
        return Request(
            "channel",
            "GET",
            url if login is None else login.applied(url),
            FOR_REGISTRIES if site else self._named,
            headers,
            None if login is None else login.authorization,
            self._trust.get(server_of(url), True),
        )


async def _of_file(address: str, offset: int, known: Version | None) -> Fetched | None:
    stream: FileStream = await open_file(address, offset)
    version = Version(address, stream.version)
    if version == known:
        await stream.close()
        return None
    return Fetched(stream, version)


def _origin(address: str) -> str:
    return "file:" if address.startswith("file:") else str(URL(address).origin())


def _http_url(text: str) -> URL:
    try:
        url = URL(text)
        usable = url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None
    except ValueError:
        usable = False
    if not usable:
        raise InvalidRequest("what is to be fetched is not an http, https or file URL without a login")
    return url.with_fragment(None)


def _unless(known: Version | None) -> dict[str, str]:
    """Return the headers that ask for a file only if it is another version (RFC 9110, 13.1.2 and 13.1.3)."""
    if known is None:
        return {}
    named = {"If-None-Match": known.etag, "If-Modified-Since": "" if known.etag else known.modified}
    return {name: value for name, value in named.items() if value}


def _error(address: str, status: int) -> WaveletError:
    shown = address.partition("?")[0]
    if status in (404, 410):
        return NotFound(f"there is nothing at {shown} (it answers {status})")
    if status in (401, 403):
        message = f"{shown} refuses access (it answers {status}); logins for channels are those of the daemon's user"
        return AccessRefused(message, declined=status == 403)
    return UpstreamBroken(f"{shown} answers {status}")
