"""Results that nodes would make differently, and have to agree on: whoever writes one first has made it for all.

A claim is small, and proves itself as a record does: its first line is an HMAC, under the cluster's key, over what it
is for and what it says. A blob that a claim speaks of can lie beside the claims, under its digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from wavelet import plain_files
from wavelet.ages import is_ahead, is_within
from wavelet.cluster import first
from wavelet.cluster.directory_io import DirectoryIo
from wavelet.cluster.publish import TEMPORARY_SUFFIX, make_directory, sync_directory
from wavelet.image.digest import Digest
from wavelet.plain_files import NotPlainError
from wavelet.store.database import Database

log = structlog.get_logger()

UNUSED_LIFETIME = 2 * 365 * 86400.0
"""Seconds after which a claim is forgotten that nobody has read: a pipeline that ran last year runs the same today."""

USE_GRAIN = 86400.0
"""Seconds within which a further use is not noted."""

LEFTOVER_AGE = 86400.0
"""Seconds after which a temporary file is taken for one that a crash has left."""

CLAIM_LIMIT = 64 * 1024 * 1024
"""Bytes of a file above which it is no claim. A lock has one million, the listing of what a script made some."""

BLOB_LIMIT = 64 * 1024**3
"""Bytes of a blob of which nothing says how many it has."""

BLOB_WAIT = 600.0
"""Seconds that the copy of a blob may take."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (name TEXT PRIMARY KEY, claim BLOB, used REAL) WITHOUT ROWID;
"""

_INSERT = "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)"
_REPLACE = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"
_COPY_SIZE = 1024 * 1024


class Claims(Protocol):
    """A keeper of claims. All methods are safe to call at once, from several nodes where the place is shared."""

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """Keep `data` under `key` unless something stands there already; return what stands, durably.

        With `replace` it takes the place of what stands.
        """

    async def claimed(self, key: str) -> bytes | None:
        """Return what stands under `key`; None if nothing does, or nothing authentic (then logged)."""

    async def share(self, file: Path, digest: Digest) -> None:
        """Let other nodes have a blob: the bytes of `file`, which have this digest."""

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """Write a blob that was shared, of at most `limit` bytes, into `file` and return its size.

        None if there is none, or a damaged one.
        """

    async def expire(self) -> int:
        """Forget what was not used in `UNUSED_LIFETIME`; return how many claims."""

    async def close(self) -> None:
        """Let go of the place."""


def _sealed(secret: bytes, key: str, data: bytes) -> bytes:
    return _seal(secret, key, data) + b"\n" + data


def _seal(secret: bytes, key: str, data: bytes) -> bytes:
    message = b"claim\0" + key.encode() + b"\0" + data
    return hmac.new(secret, message, hashlib.sha256).hexdigest().encode()


def _opened(secret: bytes, key: str, content: bytes, where: str) -> bytes | None:
    seal, _, data = content.partition(b"\n")
    if hmac.compare_digest(seal, _seal(secret, key, data)):
        return data
    log.warning("a claim is not authentic", claim=key[:200], where=where)
    return None


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class SqliteClaims:
    """`Claims` of a single node. Its store has the blobs; there is nobody to share them with."""

    def __init__(self, database: Database, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use a database with `SCHEMA`; `secret` is the cluster's key, `clock` gives unix seconds."""
        self._database = database
        self._secret = secret
        self._clock = clock

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Claims.claim`."""
        standing = None if replace else await self.claimed(key)
        if standing is not None:
            return standing
        # What is there already is not authentic; what comes in between is another's claim, and stands.
        known = self._database.read("SELECT 1 FROM claims WHERE name = ?", _name(key))
        row = (_name(key), _sealed(self._secret, key, data), self._clock())
        await self._database.write([(_REPLACE if replace or known else _INSERT, row)])
        return await self.claimed(key) or data

    async def claimed(self, key: str) -> bytes | None:
        """See `Claims.claimed`."""
        rows = self._database.read("SELECT claim, used FROM claims WHERE name = ?", _name(key))
        if not rows:
            return None
        if not is_within(rows[0][1], self._clock(), USE_GRAIN):
            self._database.write_later("UPDATE claims SET used = ? WHERE name = ?", self._clock(), _name(key))
        return _opened(self._secret, key, rows[0][0], "this node's database")

    async def share(self, file: Path, digest: Digest) -> None:
        """See `Claims.share`."""

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """See `Claims.fetch`."""
        return None

    async def expire(self) -> int:
        """See `Claims.expire`."""
        now = self._clock()
        self._database.write_later("UPDATE claims SET used = ? WHERE used > ?", now, now)
        return await self._database.write([("DELETE FROM claims WHERE used < ?", (now - UNUSED_LIFETIME,))])

    async def close(self) -> None:
        """See `Claims.close`. The database is its owner's."""


class DirectoryClaims:
    """`Claims` as files of a shared directory, of which the first one stays: see `first`.

    <directory>/claims/<first two digits>/<sha256 of the key>   a claim; its modification time is that of its last use
    <directory>/blobs/<algorithm>-<hex>                         a blob
    """

    def __init__(self, root: Path, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use the records' directory; `secret` is the cluster's key, `clock` gives unix seconds."""
        self._root = root
        self._secret = secret
        self._clock = clock
        self._io = DirectoryIo(root)

    async def claim(self, key: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Claims.claim`."""
        return await self._io.run(self._claim, key, data, replace)

    def _claim(self, key: str, data: bytes, replace: bool) -> bytes:
        path = self._path(key)
        make_directory(path.parent)
        standing, useless = (None, False) if replace else self._look(key)
        if standing is not None:
            return standing
        # What was looked at and says nothing authentic may go; what comes after it is another's claim.
        publish_it = first.replace if replace or useless else first.publish_first
        publish_it(path, _sealed(self._secret, key, data), self._clock())
        standing = self._read(key)
        if standing is None:
            # NFS caches absences: this looks at the directory afresh.
            sync_directory(path.parent)
            standing = self._read(key)
        return data if standing is None else standing

    async def claimed(self, key: str) -> bytes | None:
        """See `Claims.claimed`."""
        return await self._io.run(self._read, key)

    def _read(self, key: str) -> bytes | None:
        return self._look(key)[0]

    def _look(self, key: str) -> tuple[bytes | None, bool]:
        """Return what a claim says, and whether what stands in its place says nothing that is authentic."""
        path = self._path(key)
        try:
            content, status = first.read(path, CLAIM_LIMIT)
        except FileNotFoundError:
            return None, False
        except NotPlainError as error:
            log.warning("a claim is none", claim=key[:200], where=str(self._root), reason=error.strerror)
            return None, True
        now = self._clock()
        if is_ahead(status.st_mtime, now) or now - status.st_mtime > USE_GRAIN:
            first.set_time(path, now)
        said = _opened(self._secret, key, content, str(self._root))
        return said, said is None

    def _path(self, key: str) -> Path:
        name = _name(key)
        return self._root / "claims" / name[:2] / name

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / "blobs" / f"{digest.algorithm}-{digest.hex}"

    async def share(self, file: Path, digest: Digest) -> None:
        """See `Claims.share`."""
        await self._io.run(self._share, file, digest, wait=BLOB_WAIT)

    def _share(self, file: Path, digest: Digest) -> None:
        path = self._blob_path(digest)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(path.lstat().st_mode):
                return
        make_directory(path.parent)
        temporary = path.with_name(f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            shutil.copyfile(file, temporary)
            with temporary.open("rb") as copy:
                os.fsync(copy.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)

    async def fetch(self, digest: Digest, file: Path, limit: int = BLOB_LIMIT) -> int | None:
        """See `Claims.fetch`."""
        return await self._io.run(self._fetch, digest, file, limit, wait=BLOB_WAIT)

    def _fetch(self, digest: Digest, file: Path, limit: int) -> int | None:
        path = self._blob_path(digest)
        hasher = digest.hasher()
        size = 0
        try:
            with plain_files.opened(path) as source, file.open("wb") as copy:
                os.utime(path, follow_symlinks=False)
                while size <= limit and (block := os.read(source, _COPY_SIZE)):
                    hasher.update(block)
                    copy.write(block)
                    size += len(block)
        except FileNotFoundError:
            return None
        except NotPlainError as error:
            log.warning("a shared blob is none", digest=digest, directory=str(self._root), reason=error.strerror)
            return None
        if not digest.matches(hasher):
            log.warning("a shared blob is damaged", digest=digest, directory=str(self._root))
            return None
        return size

    async def expire(self) -> int:
        """See `Claims.expire`."""
        return await self._io.run(self._expire, wait=BLOB_WAIT)

    def _expire(self) -> int:
        expired = 0
        for path in [*(self._root / "claims").glob("*/*"), *(self._root / "blobs").glob("*")]:
            with contextlib.suppress(FileNotFoundError):
                status = first.status(path)
                temporary = path.name.endswith(TEMPORARY_SUFFIX)
                if stat.S_ISDIR(status.st_mode) and not temporary:
                    continue
                now = self._clock()
                if is_ahead(status.st_mtime, now):
                    # A clock was wrong when it was used. What it says is right, and made anew it could differ.
                    first.set_time(path, now)
                    continue
                age = now - status.st_mtime
                if age >= (LEFTOVER_AGE if temporary else UNUSED_LIFETIME):
                    expired += first.remove(path)
        return expired

    async def close(self) -> None:
        """See `Claims.close`."""
        await asyncio.to_thread(self._io.close)
