"""Sealed logins as files of a shared directory.

<directory>/logins/<HMAC of the uid>/<HMAC of uid and registry>    its modification time is when it ends
"""

from __future__ import annotations

import contextlib
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from cachetools import LRUCache

from wavelet import plain_files
from wavelet.cluster.publish import make_directory, publish_over, sync_directory
from wavelet.cluster.secrets import LONGEST_LIFETIME, ExpiringLogin, Sealer
from wavelet.cluster.shared_directory.directory_io import DirectoryIo
from wavelet.plain_files import NotPlainError
from wavelet.quantities import SKEW

log = structlog.get_logger()

LOOK_WAIT = 5.0
"""Seconds that the shared directory has to answer: a pull waits for it."""

SIZE_LIMIT = 256 * 1024
"""Bytes of a file above which it is none of ours."""

FILES_LIMIT = 256
"""Files of one user that are read."""

FOLDER = "logins"

_WARNED = 1000
"""Files that it was said of that they do not open; further ones make room, and may be said of again."""


class DirectorySecrets:
    """See `wavelet.cluster.secrets.Secrets`."""

    def __init__(self, root: Path, key: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use the shared directory; `key` is the cluster's, `clock` gives unix seconds."""
        self._root = root / FOLDER
        self._clock = clock
        self._io = DirectoryIo(root)
        self._sealer = Sealer(key)
        self._warned: LRUCache[str, bool] = LRUCache(_WARNED)

    async def put(self, uid: int, registry: str, login: ExpiringLogin) -> None:
        """See `Secrets.put`."""
        await self._io.run(self._put, uid, registry, login, wait=LOOK_WAIT)

    async def of(self, uid: int) -> dict[str, ExpiringLogin]:
        """See `Secrets.of`."""
        return await self._io.run(self._of, uid, wait=LOOK_WAIT)

    async def remove(self, uid: int, registry: str) -> None:
        """See `Secrets.remove`."""
        await self._io.run(self._remove, uid, registry, wait=LOOK_WAIT)

    async def expire(self) -> int:
        """Remove what has ended; return how many files."""
        return await self._io.run(self._expire)

    async def close(self) -> None:
        """Begin no more."""
        self._io.close()

    # Below, all runs in the threads.

    def _put(self, uid: int, registry: str, login: ExpiringLogin) -> None:
        path = self._path(uid, registry)
        make_directory(path.parent)
        publish_over(path, self._sealer.seal(uid, registry, login), login.until)
        sync_directory(self._root)

    def _of(self, uid: int) -> dict[str, ExpiringLogin]:
        found: dict[str, ExpiringLogin] = {}
        for path in self._files(uid):
            opened = self._open(path, uid)
            if opened is None:
                continue
            registry, login = opened
            if login.is_valid(self._clock()):
                found[registry] = login
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        return found

    def _files(self, uid: int) -> Iterator[Path]:
        folder = self._folder(uid)
        try:
            # NFS caches absences: this looks at the directory above afresh.
            sync_directory(self._root)
            entries = sorted(folder.iterdir())
        except FileNotFoundError:
            return
        for path in entries[:FILES_LIMIT]:
            if not path.name.startswith("."):
                yield path

    def _open(self, path: Path, uid: int) -> tuple[str, ExpiringLogin] | None:
        try:
            data, _ = plain_files.read(path, SIZE_LIMIT)
        except FileNotFoundError:
            return None
        except NotPlainError:
            data = b""
        opened = self._sealer.unseal(uid, path.name, data)
        if opened is None:
            self._warn(path)
        return opened

    def _warn(self, path: Path) -> None:
        if path.name not in self._warned:
            self._warned[path.name] = True
            log.warning("a sealed login is not authentic, or of another key", file=path.name, directory=str(self._root))

    def _remove(self, uid: int, registry: str) -> None:
        path = self._path(uid, registry)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            sync_directory(path.parent)

    def _expire(self) -> int:
        gone = 0
        for path in self._root.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if not stat.S_ISDIR(status.st_mode) and not _may_be_valid(status.st_mtime, self._clock()):
                    path.unlink()
                    gone += 1
        return gone

    def _folder(self, uid: int) -> Path:
        return self._root / self._sealer.folder_of(uid)

    def _path(self, uid: int, registry: str) -> Path:
        return self._folder(uid) / self._sealer.name_of(uid, registry)


def _may_be_valid(until: float, now: float) -> bool:
    # A second more, for file systems that keep no fractions.
    return now < until <= now + LONGEST_LIFETIME + SKEW + 1
