"""The indexes of channels that have changed since the solver read them, so that it reads those again and no others.

The solver keeps indexes in its memory, and to parse that of a large channel takes a second of CPU. An index that was
asked for again and has not changed is not worth that. What the solver has was sent by the relay, which knows the
digest; channels that are directories it reads by itself, so their files are looked at.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

import structlog

from wavelet.errors import AccessRefused, InvalidRequest, NotFound, WaveletError
from wavelet.gather_all import gather_all
from wavelet.image.digest import Digest
from wavelet.kinds.conda.channels.index_files import RENEWAL_LIMIT, IndexFiles

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
