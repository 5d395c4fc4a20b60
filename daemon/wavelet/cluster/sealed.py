"""Logins that users hand over on one node and need on another: sealed, as files of the shared directory.

    <directory>/logins/<HMAC of the uid>/<HMAC of uid and registry>    its modification time is when it ends

A file is a line in clear (form, when it ends, registry), a random nonce, and user name and secret under AES-256-GCM.
The line and the uid are the associated data, and the file's name has to follow from both: a file that is changed, kept
longer, renamed or given to another user does not open. The keys come from the cluster's by HKDF (RFC 5869).

The room keeps no login in memory; who may use one is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from wavelet import plain_files
from wavelet.ages import SKEW
from wavelet.cluster.directory_io import DirectoryIo
from wavelet.cluster.publish import make_directory, publish_over, sync_directory
from wavelet.plain_files import NotPlainError
from wavelet.plan.identity import Login

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = structlog.get_logger()

LOOK_WAIT = 5.0
"""Seconds that the shared directory has to answer: a pull waits for it."""

SIZE_LIMIT = 256 * 1024
"""Bytes of a file above which it is none of ours."""

FILES_LIMIT = 256
"""Files of one user that are read."""

LONGEST_LIFETIME = 7 * 86400.0
"""Seconds that a login may be kept. One that is to end later is of a clock that was wrong."""

FOLDER = "logins"

_FORM = b"1"
_INFO = b"wavelet sealed logins, form 1"
_NONCE_BYTES = 12
_WARNED = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """A login and when it ends, in unix seconds."""

    login: Login
    until: float

    def stands(self, now: float) -> bool:
        """Tell whether it may be used: it has not ended, and ends no later than one that begins now."""
        return now < self.until <= now + LONGEST_LIFETIME + SKEW


class SealedLogins:
    """The sealed logins of a cluster."""

    def __init__(self, root: Path, key: bytes, clock: Callable[[], float] = time.time) -> None:
        """Use the shared directory; `key` is the cluster's, `clock` gives unix seconds."""
        self._root = root / FOLDER
        self._clock = clock
        self._io = DirectoryIo(root)
        self._cipher, self._name_key = _keys(key)
        self._warned: set[str] = set()

    async def put(self, uid: int, registry: str, kept: Kept) -> None:
        """Let all nodes have a login of `uid` for a registry; it takes the place of the one before.

        Raises:
            WaitExpired, NoSpace, OurError: the shared directory cannot be used.
        """
        await self._io.run(self._put, uid, registry, kept, wait=LOOK_WAIT)

    async def of(self, uid: int) -> dict[str, Kept]:
        """Return the logins of `uid` by registry. What has ended is removed; what is not authentic is logged.

        Raises:
            WaitExpired, NoSpace, OurError: the shared directory cannot be used.
        """
        return await self._io.run(self._of, uid, wait=LOOK_WAIT)

    async def remove(self, uid: int, registry: str) -> None:
        """Take back a login of `uid`.

        Raises:
            WaitExpired, NoSpace, OurError: the shared directory cannot be used.
        """
        await self._io.run(self._remove, uid, registry, wait=LOOK_WAIT)

    async def expire(self) -> int:
        """Remove what has ended; return how many files."""
        return await self._io.run(self._expire)

    async def close(self) -> None:
        """Let go of the directory."""
        await asyncio.to_thread(self._io.close)

    # Below, all runs in the threads.

    def _put(self, uid: int, registry: str, kept: Kept) -> None:
        head = b" ".join((_FORM, repr(kept.until).encode(), registry.encode()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        secret = msgspec.json.encode((kept.login.username, kept.login.secret))
        path = self._path(uid, registry)
        make_directory(path.parent)
        publish_over(path, head + b"\n" + nonce + self._cipher.encrypt(nonce, secret, _bound(head, uid)), kept.until)
        sync_directory(self._root)

    def _of(self, uid: int) -> dict[str, Kept]:
        found: dict[str, Kept] = {}
        for path in self._files(uid):
            opened = self._open(path, uid)
            if opened is None:
                continue
            registry, kept = opened
            if kept.stands(self._clock()):
                found[registry] = kept
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

    def _open(self, path: Path, uid: int) -> tuple[str, Kept] | None:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see `_keys`

        try:
            data, _ = plain_files.read(path, SIZE_LIMIT)
        except FileNotFoundError:
            return None
        except NotPlainError:
            self._warn(path)
            return None
        head, _, body = data.partition(b"\n")
        try:
            secret = self._cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _bound(head, uid))
            _, until, registry = head.split(b" ")
            username, password = msgspec.json.decode(secret, type=tuple[str, str])
            kept = Kept(Login(username, password), float(until))
            name = registry.decode()
        except (InvalidTag, ValueError):
            name = ""
        if path != self._path(uid, name):
            self._warn(path)
            return None
        return name, kept

    def _warn(self, path: Path) -> None:
        if path.name not in self._warned:
            if len(self._warned) >= _WARNED:
                self._warned.clear()
            self._warned.add(path.name)
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
                if not stat.S_ISDIR(status.st_mode) and not _may_stand(status.st_mtime, self._clock()):
                    path.unlink()
                    gone += 1
        return gone

    def _folder(self, uid: int) -> Path:
        return self._root / self._name(str(uid))

    def _path(self, uid: int, registry: str) -> Path:
        return self._folder(uid) / self._name(f"{uid} {registry}")

    def _name(self, text: str) -> str:
        return hmac.new(self._name_key, text.encode(), hashlib.sha256).hexdigest()


def _may_stand(until: float, now: float) -> bool:
    # A second more, for file systems that keep no fractions.
    return now < until <= now + LONGEST_LIFETIME + SKEW + 1


def _bound(head: bytes, uid: int) -> bytes:
    """Return the associated data: what a login is sealed for."""
    return b"%d %b" % (uid, head)


def _keys(cluster_key: bytes) -> tuple[AESGCM, bytes]:
    """Return the cipher, and the key of the files' names."""
    # Imported where there is something to seal: a daemon without a shared directory starts sooner.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    derived = HKDF(algorithm=SHA256(), length=64, salt=None, info=_INFO).derive(cluster_key)
    return AESGCM(derived[:32]), derived[32:]
