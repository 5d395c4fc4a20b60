"""Files at URLs: which version is there now, remembered as tags are, and their bytes, of one version only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from wavelet.config import Apply, ConfigError, Settings
from wavelet.errors import InvalidRequest, UpstreamBroken, UpstreamError, UpstreamUnreachable
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels.client import Fetched
from wavelet.kinds.sif.published.format import LEAST, is_runnable
from wavelet.kinds.sif.published.node import PublishedSif
from wavelet.kinds.sif.published.sources import SETTING, Sources
from wavelet.quantities import is_within
from wavelet.store.database import Database
from wavelet.upstream.grants import LONGEST_REST, STALE_WAIT
from wavelet.upstream.retry import ExpiringSet
from wavelet.upstream.streams import Stream

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS published_files (url TEXT PRIMARY KEY, validator TEXT, size INTEGER, at REAL) WITHOUT ROWID;
"""


class FileServers(Protocol):
    """What is needed of the client of servers of files: channels are such, with their logins, mirrors and proxies."""

    def fetch(self, url: str, offset: int = 0) -> AbstractAsyncContextManager[Fetched | None]:
        """See `wavelet.kinds.conda.channels.client.Channels.fetch`."""

    def is_open(self, url: str) -> bool:
        """See `wavelet.kinds.conda.channels.client.Channels.is_open`."""


OpenAt = Callable[[int], AbstractAsyncContextManager[Stream]]

Receive = Callable[[OpenAt, Path, int, str], Awaitable[Digest]]
"""Writes what can be opened into a file, of at most so many bytes, taking up again what breaks off; the text is what
errors call it. Returns the digest."""


@dataclass(frozen=True, slots=True)
class _Seen:
    validator: str
    size: int
    at: float


class PublishedFiles:
    """The versions that one node has seen, in its database, and the way to their bytes."""

    def __init__(self, database: Database, settings: Settings, servers: FileServers, receive: Receive) -> None:
        self._database = database
        self._servers = servers
        self._receive = receive
        self._resting: ExpiringSet[str] = ExpiringSet()
        self.configure(settings)()
        rows = database.read("SELECT url, validator, size, at FROM published_files")
        self._known = {url: _Seen(validator, size, at) for url, validator, size, at in rows}

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`: what may be fetched, how long a version counts, and stands in.

        Raises:
            ConfigError: a source is no URL.
        """
        asking = settings.upstream
        try:
            sources = Sources(settings.sif.sources)
        except ValueError as error:
            raise ConfigError(str(error), field=SETTING) from None

        def apply() -> None:
            self._sources, self._ttl, self._grace = sources, asking.tag_ttl, asking.grace

        return apply

    def expire(self) -> None:
        """Forget versions that are past the grace time: they would stand in for nothing any more."""
        now = time.time()
        for url in [url for url, seen in self._known.items() if not is_within(seen.at, now, self._grace)]:
            del self._known[url]
        self._database.write_later("DELETE FROM published_files WHERE at NOT BETWEEN ? AND ?", now - self._grace, now)

    def is_open(self, url: str) -> bool:
        """Tell whether everybody may have what is at a URL: the site has no login for it."""
        return self._servers.is_open(url)

    # -- which version ------------------------------------------------------------------------------------------------

    def fresh(self, url: str) -> PublishedSif | None:
        """Return the version at a URL if nobody has to be asked."""
        seen = self._known.get(url) if self._sources.covers(url) else None
        ttl = self._grace if _server(url) in self._resting else self._ttl
        return _pinned(url, seen) if seen is not None and is_within(seen.at, time.time(), ttl) else None

    async def pin(self, url: str, *, refresh: bool = False) -> PublishedSif:
        """Return the version that is at a URL now; with `refresh`, asked for in any case.

        Raises:
            AccessRefused: the setting does not list the place, or its server refuses.
            InvalidRequest: what is there is no SIF.
            NotFound, UpstreamError: the server's answer, or that there is none and nothing stands in for it.
        """
        self._sources.check(url)
        fresh = None if refresh else self.fresh(url)
        if fresh is not None:
            return fresh
        seen = self._known.get(url)
        stands_in = seen is not None and is_within(seen.at, time.time(), self._grace)
        try:
            found = await self._ask(url, STALE_WAIT if stands_in else None)
        except UpstreamError as error:
            if seen is None or not stands_in:
                raise
            self._resting.add(_server(url), min(LONGEST_REST, max(error.negative_ttl, error.retry_after or 0.0)))
            log.warning("an earlier answer stands in", file=url, because=error.message)
            return _pinned(url, seen)
        self._resting.discard(_server(url))
        self._known[url] = found
        row = (url, found.validator, found.size, found.at)
        self._database.write_later("INSERT OR REPLACE INTO published_files VALUES (?, ?, ?, ?)", *row)
        return _pinned(url, found)

    async def _ask(self, url: str, wait: float | None) -> _Seen:
        try:
            async with asyncio.timeout(wait), self._servers.fetch(url) as fetched:
                assert fetched is not None, "nothing is known that it could still be"
                first, size, validator = await _first(fetched.stream), fetched.stream.size, _validator(fetched)
        except TimeoutError:
            raise UpstreamUnreachable(f"no answer from {_server(url)} within {wait:g} s") from None
        if not is_runnable(first):
            raise InvalidRequest(f"{url} is neither a SIF nor a squashfs image, which Apptainer and Singularity run")
        if not size or not validator:
            what = "its length" if not size else "its version, by Last-Modified or ETag"
            raise UpstreamBroken(f"{_server(url)} does not say of {url} {what}, without which it cannot be kept")
        return _Seen(validator, size, time.time())

    # -- its bytes ----------------------------------------------------------------------------------------------------

    async def write(self, node: PublishedSif, file: Path) -> Digest:
        """Write the version that a node is pinned to into a file, and return its digest.

        Raises:
            AccessRefused, NotFound, UpstreamError: it cannot be had, or there is another one by now.
        """
        self._sources.check(node.url)
        return await self._receive(lambda offset: self._opened(node, offset), file, node.size, node.url)

    @contextlib.asynccontextmanager
    async def _opened(self, node: PublishedSif, offset: int) -> AsyncIterator[Stream]:
        async with self._servers.fetch(node.url, offset) as fetched:
            assert fetched is not None, "nothing is known that it could still be"
            if (_validator(fetched), fetched.stream.size) != (node.validator, node.size):
                raise UpstreamBroken(f"what is at {node.url} has changed since it was asked for; ask for it again")
            yield fetched.stream


async def _first(stream: Stream) -> bytes:
    first = b""
    async for chunk in stream.chunks:
        first += chunk[: LEAST - len(first)]
        if len(first) >= LEAST:
            break
    return first


def _validator(fetched: Fetched) -> str:
    # Mirrors keep a file's time, and mostly make tags of their own.
    return fetched.version.modified or fetched.version.etag


def _pinned(url: str, seen: _Seen) -> PublishedSif:
    return PublishedSif(url, seen.validator, seen.size)


def _server(url: str) -> str:
    return urlsplit(url).netloc
