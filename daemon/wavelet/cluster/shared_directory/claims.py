"""Claims and shared blobs as files of a shared directory, of which the first one stays: see `first`.

<directory>/claims/<first two digits>/<sha256 of the key>   a claim; its modification time is that of its last use
<directory>/blobs/<algorithm>-<hex>                         a blob
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from wavelet import plain_files
from wavelet.cluster.claims import BLOB_LIMIT, UNUSED_LIFETIME, USE_GRAIN, name_of, seal, unseal
from wavelet.cluster.publish import TEMPORARY_SUFFIX, make_directory, sync_directory
from wavelet.cluster.shared_directory import first
from wavelet.cluster.shared_directory.directory_io import DirectoryIo
from wavelet.image.reference import Digest
from wavelet.plain_files import NotPlainError
from wavelet.quantities import is_ahead

log = structlog.get_logger()

LEFTOVER_AGE = 86400.0
"""Seconds after which a temporary file is taken for one that a crash has left."""

CLAIM_LIMIT = 64 * 1024 * 1024
"""Bytes of a file above which it is no claim. A lock has one million, the listing of what a script made some."""

BLOB_WAIT = 600.0
"""Seconds that the copy of a blob may take."""

_COPY_SIZE = 1024 * 1024


class DirectoryClaims:
    """See `wavelet.cluster.claims.Claims`."""

    shares = True

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
        publish_it(path, seal(self._secret, key, data), self._clock())
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
        said = unseal(self._secret, key, content, str(self._root))
        return said, said is None

    def _path(self, key: str) -> Path:
        name = name_of(key)
        return self._root / "claims" / name[:2] / name

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / "blobs" / f"{digest.algorithm}-{digest.hex}"

    async def renew(self, key: str, digests: Collection[Digest]) -> None:
        """See `Claims.renew`."""
        await self._io.run(self._renew, key, digests)

    def _renew(self, key: str, digests: Collection[Digest]) -> None:
        if self._read(key) is not None:
            for digest in digests:
                first.set_time(self._blob_path(digest), self._clock())

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
        """Forget what was not used in `UNUSED_LIFETIME`; return how many claims and blobs."""
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
        """Begin no more."""
        self._io.close()
