"""Files of records in a shared directory: how they are read, written, renewed and removed. All of it is blocking.

    <directory>/<first two digits>/<token>                    the time it was made, and the record; never changed
    <directory>/<first two digits>/<token>.<algorithm>-<hex>  an inline layer of it, there before the record is
    <directory>/<first two digits>/<token>.pin                what it was bound to, if it has no pin: see `bindings`

The modification time of a record's file is that of its last use. There are no locks: names follow from content, so
that two nodes that write one name write the same, and the first one's file stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from wavelet import plain_files
from wavelet.cluster.publish import TEMPORARY_SUFFIX, make_directory, publish, publish_over, sync_directory
from wavelet.cluster.records import Record, Stored, authenticate, check_bytes, holds, not_found, used_last
from wavelet.cluster.shared_directory import first
from wavelet.cluster.shared_directory.bindings import BindingFiles
from wavelet.errors import DamagedBinding, InvalidRequest, NewerForm
from wavelet.image.reference import Digest
from wavelet.plain_files import NotPlainError
from wavelet.plan.canonical import Forms, Pin
from wavelet.plan.tokens import well_formed
from wavelet.quantities import SKEW, is_ahead

log = structlog.get_logger()

FILE_LIMIT = 64 * 1024 * 1024
"""Bytes of a file above which it is none of ours: a request with all that comes with it has less than half of that."""

LEFTOVER_AGE = 3600.0
"""Seconds after which a file without a record is taken for one that a crash has left."""


@dataclass(frozen=True, slots=True)
class RecordFile:
    """What a file is found to have: a record, or None if it has none that is of use; and its size in bytes."""

    stored: Stored | None
    size: int


_USELESS = RecordFile(None, 0)


class RecordFiles:
    """The records in a directory.

    Attributes:
        lifetime: seconds that a record is kept after its last use; may be set at any time.
    """

    def __init__(self, root: Path, key: bytes, forms: Forms, lifetime: float, clock: Callable[[], float]) -> None:
        """Use the directory; `key` is the cluster's, plans are kept in `forms`, `clock` gives unix seconds."""
        self.lifetime = lifetime
        self._root = root
        self._key = key
        self._forms = forms
        self._clock = clock
        self._bindings = BindingFiles(root, key, forms, clock)

    def _path(self, token: str) -> Path:
        return self._root / token[:2] / token

    def _inline_path(self, token: str, digest: Digest) -> Path:
        return self._root / token[:2] / f"{token}.{digest.algorithm}-{digest.hex}"

    def look_afresh(self, token: str) -> None:
        """Have a network file system look again for a name that it may have cached the absence of."""
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self._root)
            sync_directory(self._path(token).parent)

    def read(self, token: str, named: bool = False) -> RecordFile | None:
        """Return what there is of a record, without what it was bound to later; None where there is no file.

        One that a newer version has made is of no use, unless somebody has `named` it, who is told so.
        """
        try:
            content, used_at = _read_file(self._path(token))
        except FileNotFoundError:
            return None
        except NotPlainError as error:
            log.warning("a record is none", token=token, directory=str(self._root), reason=error.strerror)
            return _USELESS
        head, _, data = content.partition(b"\n")
        try:
            created_at, now = float(head), self._clock()
            used = used_last(created_at, used_at, now)
            if used is None or used + self.lifetime <= now:
                return _USELESS
            record = authenticate(token, data, self._key, self._forms)
            return RecordFile(Stored(record, created_at, used, record.pin), len(data))
        except NewerForm:
            if named:
                raise
            return _USELESS
        except (InvalidRequest, ValueError) as error:
            log.warning("a record is not authentic", token=token, directory=str(self._root), reason=str(error))
            return _USELESS

    def read_bound(self, token: str, named: bool) -> RecordFile | None:
        """Return the same with what the record was bound to, if it has no pin of its own."""
        seen = self.read(token, named)
        if seen is None or seen.stored is None or seen.stored.pin is not None:
            return seen
        stored = seen.stored
        try:
            bound = self._bindings.read(token, stored.record.plan)
        except (NewerForm, DamagedBinding) as error:
            if named:
                raise
            log.warning("a record is of no use", token=token, directory=str(self._root), reason=error.message)
            return _USELESS
        return seen if bound is None else RecordFile(replace(stored, pin=bound[0]), seen.size + bound[1])

    def bind(self, token: str, pin: Pin) -> Pin:
        """Bind a name unless it is bound; return what it is bound to. Errors: see `Records.bind`, and `OSError`."""
        seen = self.read(token, named=True)
        if seen is None:
            self.look_afresh(token)
            seen = self.read(token, named=True)
        if seen is None or seen.stored is None:
            raise not_found(token)
        record = seen.stored.record
        return record.pin or self._bindings.bind(token, record.plan, pin)[0]

    def read_inline(self, token: str, digest: Digest) -> bytes | None:
        """Return the bytes of an inline layer; None if they are not there, or not the right ones (then logged)."""
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

    def put(self, token: str, record: Record, inline: Mapping[Digest, bytes], bound: Pin | None) -> None:
        """Write a record and its inline layers, or renew those that are there.

        `bound` is what this node knows that the name was bound to: where the record has gone it is bound to that again.

        Raises:
            DigestMismatch: see `Records.put`.
            OSError: they cannot be written.
        """
        check_bytes(inline)
        path = self._path(token)
        make_directory(path.parent)
        now = self._clock()
        for digest, content in inline.items():
            layer = self._inline_path(token, digest)
            # One that is there gets a new time, lest it be taken for a leftover before its record is made.
            if self.read_inline(token, digest) is None or not _set_time(layer, now):
                publish_over(layer, content, now)
        seen = self.read(token)
        if seen is None or not self._renew(token, seen.stored):
            if record.pin is None and bound is not None:
                # Evicted elsewhere a moment ago: this node goes on knowing what the name has answered, so all have to.
                self._bindings.bind(token, record.plan, bound)
            publish(path, b"%.6f\n" % now + record.encode(), now, replace=seen is not None)
            sync_directory(self._root)
            if record.pin is None:
                self._bindings.keep(token)

    def touch(self, token: str) -> bool:
        """Note a use; False if there is no good record."""
        seen = self.read(token)
        return seen is not None and self._renew(token, seen.stored)

    def _renew(self, token: str, stored: Stored | None) -> bool:
        """Set the time of last use; False if there is no good record."""
        path = self._path(token)
        if stored is None or not _set_time(path, max(self._clock(), stored.used_at)):
            return False
        # A record may be visible before the node that makes it has made it durable.
        sync_directory(path.parent)
        sync_directory(self._root)
        return True

    def evict(self, token: str) -> bool:
        """Remove a record and what lies beside it; tell whether it was there."""
        path = self._path(token)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        for beside in path.parent.glob(f"{token}.*"):
            first.remove(beside)
        sync_directory(path.parent)
        return True

    def shards(self) -> list[Path]:
        """Return the directories that records are in; whoever writes the first record makes what is above them."""
        with contextlib.suppress(FileNotFoundError):
            return [shard for shard in self._root.iterdir() if len(shard.name) == 2 and shard.is_dir()]
        return []

    def expire(self, shard: Path) -> int:
        """Remove what is past its lifetime, and what crashes have left; return how many records."""
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
                    if age >= self.lifetime or (is_ahead(status.st_mtime, now) and not self._set_right(path)):
                        path.unlink()
                        expired += 1
                elif not -SKEW <= age < LEFTOVER_AGE and _is_leftover(path):
                    first.remove(path)
        return expired

    def _set_right(self, path: Path) -> bool:
        """Give a record whose last use is not known the time that is; False if it is of no use."""
        try:
            seen = self.read(path.name, named=True)
        except NewerForm:
            return True  # a newer version's, which knows what to do with it
        return seen is not None and seen.stored is not None and _set_time(path, seen.stored.used_at)


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
