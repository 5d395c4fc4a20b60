"""The solver's only way to channels: a private server on loopback, and which indexes have changed.

The solver keeps indexes in its memory, and to parse that of a large channel takes a second of CPU. An index that was
asked for again and has not changed is not worth that. What the solver has was sent by the relay, which knows the
digest; channels that are directories it reads by itself, so their files are looked at.

The solver library has an HTTP client of its own, in another process. Through this door it gets index files by the
daemon's rules: logins, mirrors, address policy, the store. A secret in the path keeps other users of the node out. The
door opens nothing but index files, of channels that may be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import structlog
from aiohttp import web
from cachetools import FIFOCache

from wavelet.concurrency import gather_all
from wavelet.config import Apply, Settings
from wavelet.errors import AccessRefused, InvalidRequest, NotFound, UpstreamError, WaveletError, bare_copy, fresh_copy
from wavelet.image.reference import Digest
from wavelet.kinds.conda.channels import index_files, shard_index
from wavelet.kinds.conda.channels.client import Channels
from wavelet.kinds.conda.channels.index_files import RENEWAL_LIMIT, IndexFile, IndexFiles
from wavelet.kinds.conda.channels.names import normal
from wavelet.kinds.conda.channels.shards import InMemory
from wavelet.kinds.conda.model.specs import SUBDIR
from wavelet.store.content import Committed, ContentStore
from wavelet.store.database import Database

INDEXES_HELD = 4096
"""Indexes of which it is remembered what was sent; of those beyond, the channel counts as changed."""

_DEFINITE = (NotFound, AccessRefused, InvalidRequest)
_FORM = re.compile(r"repodata(_shards\.msgpack\.zst|\.json(\.zst|\.bz2)?)")
_Stamp = tuple[tuple[str, int, int, int], ...]
_log = structlog.get_logger(__name__)


class Generations:
    """The generation of each channel: a number that is larger when its index has changed."""

    def __init__(self, files: IndexFiles) -> None:
        self._files = files
        self._numbers = itertools.count(1)
        self._sent: dict[str, Digest | None] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._generations: dict[str, int] = {}

    def sent(self, url: str, digest: Digest) -> None:
        """Note what the solver was sent as the index at `url`."""
        self._note(url, digest)

    def absent(self, url: str) -> None:
        """Note that the solver was told that there is no index at `url`: it remembers a subdir that is not there."""
        self._note(url, None)

    def _note(self, url: str, digest: Digest | None) -> None:
        self._sent.pop(url, None)
        self._sent[url] = digest
        if len(self._sent) > INDEXES_HELD:
            longest_ago = next(iter(self._sent))
            del self._sent[longest_ago]
            self._changed(_channel_of(longest_ago))

    async def of(self, channels: Iterable[str]) -> Mapping[str, int]:
        """Return the generation of each channel by its URL; indexes are asked for again when that is due.

        An index that cannot be had now has not changed. One that is gone or refused has, so that the solver meets that.
        """
        wanted = list(channels)
        try:
            async with asyncio.timeout(RENEWAL_LIMIT):
                await gather_all(map(self._look, wanted))
        except TimeoutError:
            _log.warning("what the solver has read stands in", channels=wanted, because="an index is slow to come")
        return {channel: self._generations.get(channel, 0) for channel in wanted}

    async def _look(self, channel: str) -> None:
        if channel.startswith("file:"):
            stamp = await asyncio.to_thread(_stamp, Path(unquote(channel.removeprefix("file://"))))
            if self._stamps.setdefault(channel, stamp) != stamp:
                self._stamps[channel] = stamp
                self._changed(channel)
            return
        await gather_all(self._compare(url) for url in list(self._sent) if _channel_of(url) == channel)

    async def _compare(self, url: str) -> None:
        sent = self._sent[url]
        now: Digest | None = None
        try:
            now = (await self._files.get(url)).blob.digest
        except _DEFINITE:
            pass
        except WaveletError as error:
            _log.warning("what the solver has read stands in", url=url, because=error.message)
            return
        if now == sent or self._sent.get(url) != sent:
            return  # or it was sent again meanwhile, or somebody else has noticed
        self._changed(_channel_of(url))
        self._sent[url] = now

    def _changed(self, channel: str) -> None:
        self._generations[channel] = next(self._numbers)


def _channel_of(url: str) -> str:
    return url.rsplit("/", 2)[0]


def _stamp(directory: Path) -> _Stamp:
    """Return what changes with the index files of a channel that is a directory."""
    found: list[tuple[str, int, int, int]] = []
    try:
        subdirs = [entry.path for entry in os.scandir(directory) if entry.is_dir()]
        for path in (entry.path for subdir in subdirs for entry in os.scandir(subdir) if _FORM.fullmatch(entry.name)):
            status = Path(path).stat()
            found.append((path, status.st_ino, status.st_mtime_ns, status.st_size))
    except OSError:  # the solver says what is wrong with it
        return ()
    return tuple(sorted(found))


SCHEMA = index_files.SCHEMA

FAILURES_HELD = 1024

SHUTDOWN_LIMIT = 1.0
"""Seconds that the one client has for what it is reading when the daemon ends; it ends too."""

_READ_SIZE = 1024 * 1024
_MEDIA_TYPE = "application/octet-stream"
_INDEX = re.compile(r"(repodata|current_repodata|run_exports|repodata_from_packages)\.json(\.zst|\.bz2)?")
_SHARD = re.compile(r"[0-9a-f]{64}\.msgpack\.zst")


class Relay:
    """See the module. Between `start` and `close`."""

    def __init__(self, channels: Channels, store: ContentStore, database: Database, settings: Settings) -> None:
        self._channels = channels
        self.files = IndexFiles(channels, store, database, settings)
        self.generations = Generations(self.files)
        self._secret = secrets.token_urlsafe(32)
        self._base = ""
        self._failures: FIFOCache[str, tuple[WaveletError, float]] = FIFOCache(FAILURES_HELD)
        self._runner: web.AppRunner | None = None

    def configure(self, settings: Settings) -> Apply:
        """See `Configurable`; the settings are those of the index files."""
        return self.files.configure(settings)

    async def start(self) -> None:
        """Listen, on a port that the system chooses."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_LIMIT
        )  # a log of paths would have the secret
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._base = f"http://{host}:{port}/{self._secret}"

    async def close(self) -> None:
        """Stop listening, and end what is being fetched."""
        # What is being fetched first: answers that wait for it would hold up the end.
        await self.files.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def url_for(self, channel: str) -> str:
        """Return where the solver finds what is at an http or https URL."""
        scheme, _, rest = channel.partition("://")
        return f"{self._base}/{scheme}/{rest}"

    def scrub(self, text: str) -> str:
        """Return the solver's words with official URLs in place of this door's, whose secret nobody may see."""
        for scheme in ("https", "http"):
            text = text.replace(f"{self._base}/{scheme}/", f"{scheme}://")
        return text.replace(self._secret, "…")

    def failure(self, subjects: Iterable[str], since: float = 0.0) -> WaveletError | None:
        """Return why an index could not be had, if it could not.

        Args:
            subjects: URLs of channels, none of what lies below them, or of index files.
            since: only what has failed after this time (`time.monotonic`): what others asked for before is not the
                reason of what fails now.
        """
        wanted = set(subjects)
        found = [
            error
            for url, (error, at) in self._failures.items()
            if at >= since and (url in wanted or any(_is_in(url, channel) for channel in wanted))
        ]
        first = min(found, key=lambda error: not isinstance(error, UpstreamError), default=None)
        return None if first is None else fresh_copy(first)

    def due_in(self, channels: Iterable[str]) -> float:
        """Return after how many seconds at the most an index of these channels is asked for again."""
        return self.files.due_in(channels)

    def refresh(self) -> None:
        """Let the next solve ask for every index again, however lately it was asked for."""
        self.files.refresh()

    def expire(self) -> None:
        """Forget what is of no more use."""
        self.files.expire()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        url = self._asked(request.rel_url.raw_path)
        if url is None or request.method not in ("GET", "HEAD"):
            return web.Response(status=404)
        try:
            self._channels.check_below(shard_index.origin_of(url)[1])
            if request.method == "HEAD":
                return web.Response(status=200 if await self.files.is_there(url) else 404)
            file = await self.files.get(url)
            opened = await self._open(url, file)
        except WaveletError as error:
            self._failed(url, error)
            return web.Response(status=error.status, text=error.message)
        self._failures.pop(url, None)
        if not isinstance(file.blob, InMemory) and not _SHARD.fullmatch(url.rpartition("/")[2]):
            self.generations.sent(url, file.blob.digest)
        # The digest is the validator: whatever server the bytes came from, the same bytes are the same version.
        etag = f'"{file.blob.digest.hex}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if file.encoding:
            headers["Content-Encoding"] = file.encoding
        with contextlib.ExitStack() as stack:
            if not isinstance(opened, bytes):
                stack.enter_context(opened)
            if etag in request.headers.get("If-None-Match", ""):
                return web.Response(status=304, headers=headers)
            if isinstance(opened, bytes):
                return web.Response(body=opened, headers=headers, content_type=_MEDIA_TYPE)
            return await _send(request, file.blob.size, headers, opened)

    def _asked(self, path: str) -> str | None:
        """Return the URL that a path stands for, if it has the secret and is one of an index file."""
        _, secret, scheme, rest = (*path.split("/", 3), "", "", "")[:4]
        if not secrets.compare_digest(secret.encode(), self._secret.encode()) or scheme not in ("http", "https"):
            return None
        name = rest.rpartition("/")[2]
        if name != shard_index.NAME and not _INDEX.fullmatch(name) and not _SHARD.fullmatch(name):
            return None
        try:
            return normal(f"{scheme}://{rest}")
        except InvalidRequest:
            return None

    async def _open(self, url: str, file: IndexFile) -> bytes | BinaryIO:
        """Return the bytes of a file if they are few, or the file, open."""
        if isinstance(file.blob, InMemory):
            return file.blob.data
        try:
            return await asyncio.to_thread(_opened, file.blob)
        except FileNotFoundError:  # evicted a moment ago
            return await self._open(url, await self.files.get(url))

    def _failed(self, url: str, error: WaveletError) -> None:
        # Of the forms of an index only the plain one has to be there.
        if isinstance(error, NotFound) and not url.endswith("/repodata.json"):
            self._failures.pop(url, None)
            return
        if isinstance(error, NotFound):
            self.generations.absent(url)
            channel, subdir, _ = url.rsplit("/", 2)
            error = NotFound(f"there is no channel at {channel}, or it has no {subdir}", field="channels")
        self._failures[url] = bare_copy(error), time.monotonic()


def _is_in(url: str, channel: str) -> bool:
    """Tell whether a file is one of a channel, and not one of a channel whose address begins with this one's."""
    below = url.removeprefix(f"{channel}/")
    return below != url and SUBDIR.fullmatch(below.partition("/")[0]) is not None


def _opened(blob: Committed) -> bytes | BinaryIO:
    return blob.path.read_bytes() if blob.size <= _READ_SIZE else blob.path.open("rb")


async def _send(request: web.Request, size: int, headers: Mapping[str, str], opened: BinaryIO) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    response.content_type = _MEDIA_TYPE
    with contextlib.suppress(ConnectionError):  # the solver has gone away
        await response.prepare(request)
        while chunk := await asyncio.to_thread(opened.read, _READ_SIZE):
            await response.write(chunk)
        await response.write_eof()
    return response
