"""Records in a directory that all nodes share, on NFS, Lustre or any other file system with atomic rename.

    <directory>/<first two digits>/<token>                    the time it was made, and the record; never changed
    <directory>/<first two digits>/<token>.<algorithm>-<hex>  an inline layer of it, there before the record is
    <directory>/<first two digits>/<token>.pin                what it was bound to, if it has no pin: see `bindings`

The modification time of a record's file is that of its last use. There are no locks: names follow from content, so
that two nodes that write one name write the same, and the first one's file stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from wavelet import plain_files
from wavelet.ages import SKEW, is_ahead
from wavelet.cluster import first
from wavelet.cluster.bindings import BindingFiles
from wavelet.cluster.directory_io import DirectoryIo
from wavelet.cluster.publish import TEMPORARY_SUFFIX, make_directory, publish, publish_over, sync_directory
from wavelet.cluster.recent import Recent
from wavelet.cluster.records import (
    Record,
    Stored,
    authenticate,
    check_bytes,
    check_named,
    holds,
    not_found,
    used_last,
)
from wavelet.config import ConfigError
from wavelet.errors import DamagedBinding, DirectoryUnavailable, InvalidRequest, NewerForm, NoSpace
from wavelet.image.digest import Digest
from wavelet.plain_files import NotPlainError
from wavelet.plan.forms import Forms
from wavelet.plan.pinning import Pin
from wavelet.plan.tokens import well_formed

log = structlog.get_logger()

LOOK_AGAIN = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between looks for an unknown token: NFS caches absences, and the name may be another node's of just now."""

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a file above which it is none of ours: a request with all that comes with it has less than half of that."""

LEFTOVER_AGE = 3600.0
"""Seconds after which a file without a record is taken for one that a crash has left."""


class DirectoryRecords:
    """`Records` as files. The directory's I/O has threads of its own: if it hangs, only records wait."""

    def __init__(
        self, path: Path, key: bytes, forms: Forms, lifetime: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Use or make the directory. Blocking: for the start.

        Args:
            path: the shared directory.
            key: the cluster's.
            forms: those in which plans are kept.
            lifetime: seconds that a record is kept after its last use.
            clock: gives unix seconds.

        Raises:
            ConfigError: the directory cannot be made.
        """
        try:
            make_directory(path)
        except OSError as error:
            message = f"records.directory: {path} cannot be used: {error.strerror}; make it, owned by the daemon's user"
            raise ConfigError(message, field="records.directory") from None
        self._root = path
        self._key = key
        self._forms = forms
        self._clock = clock
        self._recent = Recent(lifetime, clock)
        self._bindings = BindingFiles(path, key, forms, clock)
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
                await self._io.run(self._look_afresh, token)
            since = self._recent.forgotten
            if (seen := await self._io.run(self._read_bound, token, patient)) is not None:
                return self._remember(token, *seen, since)
        return None

    def _remember(self, token: str, stored: Stored | None, size: int, since: int) -> Stored | None:
        if stored is not None:
            self._recent.add(token, stored, size, since)
        return stored

    async def put(self, record: Record, inline: Mapping[Digest, bytes]) -> str:
        """See `Records.put`."""
        check_named(record, inline)
        token = record.token(self._key)
        if not inline and not self._recent.use_is_due(token) and await self._is_there(token):
            return token
        remembered = self._recent.get(token)
        await self._io.run(self._put, token, record, inline, None if remembered is None else remembered.pin)
        self._recent.used(token)
        return token

    async def _is_there(self, token: str) -> bool:
        if self._recent.get(token) is not None:
            return True
        since = self._recent.forgotten
        seen = await self._io.run(self._read, token)
        return seen is not None and self._remember(token, *seen, since) is not None

    async def bind(self, token: str, pin: Pin) -> Pin:
        """See `Records.bind`. It asks the directory, whatever is remembered."""
        if not well_formed(token):
            raise not_found(token)
        stored = self._recent.get(token)
        if stored is not None and stored.record.pin is not None:
            return stored.record.pin
        try:
            return await self._io.run(self._bind, token, pin)
        except NoSpace as error:
            # Nothing can be answered under this name now, and that is all that whoever pulls it has to know.
            raise DirectoryUnavailable(error.message) from error

    async def inline(self, token: str, digest: Digest) -> bytes | None:
        """See `Records.inline`."""
        if not well_formed(token):
            return None
        return await self._io.run(self._read_inline, token, digest)

    async def touch(self, token: str) -> None:
        """See `Records.touch`. Once an hour it waits for the directory."""
        if well_formed(token) and self._recent.use_is_due(token) and await self._io.run(self._touch, token):
            self._recent.used(token)

    async def evict(self, token: str) -> bool:
        """See `Records.evict`. Other nodes may answer from memory for `recent.FRESH` seconds more."""
        if not well_formed(token):
            return False
        self._recent.forget(token)
        evicted = await self._io.run(self._evict, token)
        self._recent.forget(token)
        return evicted

    async def expire(self) -> int:
        """See `Records.expire`. Also removes what crashes have left."""
        shards = await self._io.run(self._shards)
        return sum([await self._io.run(self._expire, shard) for shard in shards])

    async def check(self) -> None:
        """See `Records.check`."""
        await self._io.check()

    def keep_for(self, lifetime: float) -> None:
        """See `Records.keep_for`."""
        self._recent.lifetime = lifetime

    async def close(self) -> None:
        """See `Records.close`."""
        self._io.close()

    # Below, all runs in the threads.

    def _path(self, token: str) -> Path:
        return self._root / token[:2] / token

    def _inline_path(self, token: str, digest: Digest) -> Path:
        return self._root / token[:2] / f"{token}.{digest.algorithm}-{digest.hex}"

    def _look_afresh(self, token: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self._root)
            sync_directory(self._path(token).parent)

    def _read(self, token: str, named: bool = False) -> tuple[Stored | None, int] | None:
        """Return a record, or None for one that is of no use, with its size; nothing at all where there is no file.

        One that a newer version has made is of no use, unless somebody has `named` it, who is told so.
        """
        try:
            content, used_at = _read_file(self._path(token))
        except FileNotFoundError:
            return None
        except NotPlainError as error:
            log.warning("a record is none", token=token, directory=str(self._root), reason=error.strerror)
            return None, 0
        head, _, data = content.partition(b"\n")
        try:
            created_at, now = float(head), self._clock()
            used = used_last(created_at, used_at, now)
            if used is None or used + self._recent.lifetime <= now:
                return None, 0
            record = authenticate(token, data, self._key, self._forms)
            return Stored(record, created_at, used, record.pin), len(data)
        except NewerForm:
            if named:
                raise
            return None, 0
        except (InvalidRequest, ValueError) as error:
            log.warning("a record is not authentic", token=token, directory=str(self._root), reason=str(error))
            return None, 0

    def _read_bound(self, token: str, named: bool) -> tuple[Stored | None, int] | None:
        """Return the same with what the record was bound to, if it has no pin of its own."""
        seen = self._read(token, named)
        if seen is None or seen[0] is None or seen[0].pin is not None:
            return seen
        stored, size = seen[0], seen[1]
        try:
            bound = self._bindings.read(token, stored.record.plan)
        except (NewerForm, DamagedBinding) as error:
            if named:
                raise
            log.warning("a record is of no use", token=token, directory=str(self._root), reason=error.message)
            return None, 0
        return seen if bound is None else (replace(stored, pin=bound[0]), size + bound[1])

    def _bind(self, token: str, pin: Pin) -> Pin:
        seen = self._read(token, named=True)
        if seen is None:
            self._look_afresh(token)
            seen = self._read(token, named=True)
        if seen is None or seen[0] is None:
            raise not_found(token)
        record = seen[0].record
        return record.pin or self._bindings.bind(token, record.plan, pin)[0]

    def _read_inline(self, token: str, digest: Digest) -> bytes | None:
        try:
            content, _ = _read_file(self._inline_path(token, digest))
        except FileNotFoundError:
            return None
        except NotPlainError as error:
            log.warning("an inline layer is none", token=token, digest=digest, reason=error.strerror)
            return None
        if not holds(digest, content):
            log.warning("an inline layer is damaged", token=token, digest=digest, directory=str(self._root))
            return None
        return content

    def _put(self, token: str, record: Record, inline: Mapping[Digest, bytes], bound: Pin | None) -> None:
        check_bytes(inline)
        path = self._path(token)
        make_directory(path.parent)
        now = self._clock()
        for digest, content in inline.items():
            layer = self._inline_path(token, digest)
            # One that is there gets a new time, lest it be taken for a leftover before its record is made.
            if self._read_inline(token, digest) is None or not _set_time(layer, now):
                publish_over(layer, content, now)
        seen = self._read(token)
        if seen is None or not self._renew(token, seen[0]):
            if record.pin is None and bound is not None:
                # Evicted elsewhere a moment ago: this node goes on knowing what the name has answered, so all have to.
                self._bindings.bind(token, record.plan, bound)
            publish(path, b"%.6f\n" % now + record.encode(), now, replace=seen is not None)
            sync_directory(self._root)
            if record.pin is None:
                self._bindings.keep(token)

    def _touch(self, token: str) -> bool:
        seen = self._read(token)
        return seen is not None and self._renew(token, seen[0])

    def _renew(self, token: str, stored: Stored | None) -> bool:
        """Set the time of last use; False if there is no good record."""
        path = self._path(token)
        if stored is None or not _set_time(path, max(self._clock(), stored.used_at)):
            return False
        # A record may be visible before the node that makes it has made it durable.
        sync_directory(path.parent)
        sync_directory(self._root)
        return True

    def _evict(self, token: str) -> bool:
        path = self._path(token)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        for beside in path.parent.glob(f"{token}.*"):
            first.remove(beside)
        sync_directory(path.parent)
        return True

    def _shards(self) -> list[Path]:
        return [shard for shard in self._root.iterdir() if len(shard.name) == 2 and shard.is_dir()]

    def _expire(self, shard: Path) -> int:
        expired = 0
        now = self._clock()
        # A record's name sorts before those of its layers and its binding, which then go with it.
        for path in sorted(shard.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                status = first.status(path)
                if stat.S_ISDIR(status.st_mode) and not path.name.endswith(TEMPORARY_SUFFIX):
                    continue  # nobody's record, and not ours to remove
                age = now - status.st_mtime
                if well_formed(path.name):
                    if age >= self._recent.lifetime or (is_ahead(status.st_mtime, now) and not self._set_right(path)):
                        path.unlink()
                        expired += 1
                elif not -SKEW <= age < LEFTOVER_AGE and _is_leftover(path):
                    first.remove(path)
        return expired

    def _set_right(self, path: Path) -> bool:
        """Give a record whose last use is not known the time that is; False if it is of no use."""
        try:
            seen = self._read(path.name, named=True)
        except NewerForm:
            return True  # a newer version's, which knows what to do with it
        return seen is not None and seen[0] is not None and _set_time(path, seen[0].used_at)


def _is_leftover(path: Path) -> bool:
    token, dot, _ = path.name.partition(".")
    if not token:
        return path.name.endswith(TEMPORARY_SUFFIX)
    return bool(dot) and well_formed(token) and not path.with_name(token).exists()


def _read_file(path: Path) -> tuple[bytes, float]:
    """Return content and modification time. A file replaced meanwhile on another node (ESTALE) is opened again."""
    try:
        return _read_once(path)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return _read_once(path)


def _read_once(path: Path) -> tuple[bytes, float]:
    content, status = plain_files.read(path, FILE_LIMIT)
    return content, status.st_mtime


def _set_time(path: Path, now: float) -> bool:
    """Set the modification time, durably; False if the file has gone."""
    try:
        with plain_files.opened(path) as descriptor:
            os.utime(descriptor, (now, now))
            os.fsync(descriptor)
    except (FileNotFoundError, NotPlainError):
        return False
    except PermissionError:
        log.warning("a record belongs to another user and cannot be renewed", path=str(path))
    return True
