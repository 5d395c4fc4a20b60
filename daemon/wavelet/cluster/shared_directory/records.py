"""Records in a directory that all nodes share: what is remembered of them here, and `record_places` in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from wavelet.cluster.recent_records import RecentRecords
from wavelet.cluster.records import Lifetimes, Record, Stored, check_named, not_found
from wavelet.cluster.shared_directory.directory_io import DirectoryIo
from wavelet.cluster.shared_directory.record_files import RecordFile
from wavelet.cluster.shared_directory.record_places import RecordPlaces
from wavelet.errors import DirectoryUnavailable, NoSpace
from wavelet.image.reference import Digest
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.tokens import well_formed

LOOK_AGAIN = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between looks for an unknown token: NFS caches absences, and the name may be another node's of just now."""


class DirectoryRecords:
    """See `wavelet.cluster.records.Records`. If the directory hangs, only records wait."""

    def __init__(
        self, path: Path, key: bytes, forms: Forms, lifetimes: Lifetimes, clock: Callable[[], float] = time.time
    ) -> None:
        """Use the directory; whoever writes first makes it.

        Args:
            path: the shared directory.
            key: the cluster's.
            forms: those in which plans are kept.
            lifetimes: of records after their last use.
            clock: gives unix seconds.
        """
        self._key = key
        self._recent = RecentRecords(lifetimes, clock)
        self._files = RecordPlaces(path, key, forms, lifetimes, clock)
        self._io = DirectoryIo(path)

    async def get(self, token: str, *, patient: bool = True) -> Stored | None:
        """See `Records.get`. A patient look for an unknown token takes a few seconds."""
        if not well_formed(token):
            return None
        if (stored := self._recent.get(token)) is not None:
            return stored
        for pause in (0.0, *(LOOK_AGAIN if patient else ())):
            if pause:
                await asyncio.sleep(pause)
                await self._io.run(self._files.look_afresh, token)
            since = self._recent.forgotten
            if (seen := await self._io.run(self._files.read_bound, token, patient)) is not None:
                return self._remember(token, seen, since)
        return None

    def _remember(self, token: str, seen: RecordFile, since: int) -> Stored | None:
        if seen.stored is not None:
            self._recent.add(token, seen.stored, seen.size, since)
        return seen.stored

    async def put(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """See `Records.put`."""
        check_named(record, inline)
        token = record.token(self._key)
        if not inline and not self._recent.use_is_due(token) and await self._is_there(token):
            return token
        remembered = self._recent.get(token)
        await self._io.run(self._files.put, token, record, inline, None if remembered is None else remembered.pin)
        self._recent.used(token)
        return token

    async def _is_there(self, token: str) -> bool:
        if self._recent.get(token) is not None:
            return True
        since = self._recent.forgotten
        seen = await self._io.run(self._files.read, token)
        return seen is not None and self._remember(token, seen, since) is not None

    async def bind(self, token: str, pin: Pin) -> Pin:
        """See `Records.bind`. It asks the directory, whatever is remembered."""
        if not well_formed(token):
            raise not_found(token)
        stored = self._recent.get(token)
        if stored is not None and stored.record.pin is not None:
            return stored.record.pin
        try:
            return await self._io.run(self._files.bind, token, pin)
        except NoSpace as error:
            # Nothing can be answered under this name now, and that is all that whoever pulls it has to know.
            raise DirectoryUnavailable(error.message) from error

    async def inline(self, token: str, digest: Digest) -> bytes | None:
        """See `Records.inline`."""
        if not well_formed(token):
            return None
        return await self._io.run(self._files.read_inline, token, digest)

    async def touch(self, token: str) -> None:
        """See `Records.touch`. Once an hour it waits for the directory."""
        if well_formed(token) and self._recent.use_is_due(token) and await self._io.run(self._files.touch, token):
            self._recent.used(token)

    async def evict(self, token: str) -> bool:
        """See `Records.evict`. Other nodes may answer from memory for `recent.FRESH` seconds more."""
        if not well_formed(token):
            return False
        self._recent.forget(token)
        evicted = await self._io.run(self._files.evict, token)
        self._recent.forget(token)
        return evicted

    async def frozen(self) -> list[str]:
        """See `Records.frozen`."""
        return await self._io.run(self._files.frozen)

    async def expire(self) -> int:
        """Forget what is past its lifetime, and what crashes have left; return how many records."""
        shards = await self._io.run(self._files.shards)
        return sum([await self._io.run(files.expire, shard) for files, shard in shards])

    async def check(self) -> None:
        """Return if the directory can be read and written; errors: see `DirectoryIo.check`."""
        await self._io.check()

    def keep_for(self, lifetimes: Lifetimes) -> None:
        """Count other lifetimes from now on."""
        self._recent.lifetimes = lifetimes
        self._files.keep_for(lifetimes)

    async def close(self) -> None:
        """Begin no more."""
        self._io.close()
