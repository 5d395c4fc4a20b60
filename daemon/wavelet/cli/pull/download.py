"""A file fetched from the daemon: resumed where an earlier try ended, verified, and put into its place by a rename.

Beside the file there is `FILE.part` meanwhile, with what has come, and `FILE.part.digest`, which says of what it is a
part. Both stay when the command is ended: the next one asks for the rest, and the daemon answers with all of it where
the digest is no longer the one that it has (RFC 9110, 13.1.5, `If-Range`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wavelet import plain_files
from wavelet.cli.pull.daemon_http import BROKEN, PAUSE, DaemonHttp
from wavelet.cli.pull.disk import FileError, check_room, writing
from wavelet.errors import InvalidRequest, UpstreamBroken, UpstreamUnreachable
from wavelet.image.reference import Digest, Hasher

Report = Callable[[int, int], None]
"""Is told how many bytes are there, of how many. What it raises ends the work."""

ATTEMPTS = 5
"""Times that a connection may break in a row without a single byte more."""

_BLOCK = 1024 * 1024
_MODE = 0o777
"""As Apptainer gives it to its own: a SIF is a program that runs itself. The user's umask has its say."""
_NOTE_LIMIT = 256
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole."""

    digest: Digest
    size: int


@dataclass(slots=True)
class _Part:
    """What there is of the file `target`: open as `file`, of what `note` says."""

    target: Path
    file: int
    hasher: Hasher
    digest: Digest | None = None
    size: int = 0
    at: int = 0

    @property
    def path(self) -> Path:
        return _beside(self.target, ".part")

    @property
    def note(self) -> Path:
        return _beside(self.target, ".part.digest")

    @property
    def is_whole(self) -> bool:
        return self.digest is not None and self.at == self.size

    def restart(self, digest: Digest | None, whole: int) -> None:
        """Begin anew, with what has this digest and as many bytes."""
        os.ftruncate(self.file, 0)
        os.lseek(self.file, 0, os.SEEK_SET)
        self.digest, self.size, self.at = digest, whole, 0
        self.hasher = hashlib.sha256() if digest is None else digest.hasher()

    def remove(self) -> None:
        """Leave nothing for the next try."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(daemon: DaemonHttp, path: str, target: Path, report: Report) -> Fetched:
    """Fetch what the daemon has at `path` into the file `target`; what was there before is replaced.

    Raises:
        WaveletError: why it is not there. What has come stays for the next try, unless it is not what it should be.
    """
    target = _checked(target)
    with _locked(target) as file:
        with writing(target):
            part = _begun(target, file)
        try:
            _fetch(daemon, path, part, report)
        finally:
            if not part.at and not part.is_whole:
                part.remove()  # nothing has come
        with writing(target):
            if part.digest is None or not part.digest.matches(part.hasher):
                part.remove()
                raise UpstreamBroken(
                    f"what came for {target.name} is not {part.digest}; it is removed, and asking again is right"
                )
            os.fsync(file)
            part.path.rename(target)
            part.remove()
        return Fetched(part.digest, part.size)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _checked(target: Path) -> Path:
    """Return the file itself where a link leads to it.

    Raises:
        InvalidRequest: what is there is no file, or there is no such directory.
    """
    target = Path(os.path.realpath(target))
    if target.exists() and not target.is_file():
        raise InvalidRequest(f"{target} is there, and no file; name another one")
    if not target.parent.is_dir():
        raise InvalidRequest(f"there is no directory {target.parent}; make it first")
    return target


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[int]:
    """Open the part that is there, or a new one, and let nobody else write it meanwhile."""
    part = _beside(target, ".part")
    with writing(target):
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _MODE)
    try:
        if not _lock(file):
            raise FileError(f"{part} is being written by another command; wait for that one")
        if not _is_own(part, file):
            raise FileError(f"{part} is another user's, or was finished by another command just now; ask again")
        yield file
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    """Lock an open file, unless another command has; where there are no locks, its digest shows what two have made."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_own(path: Path, file: int) -> bool:
    """Tell whether an open file is still at its path, a regular one, and this user's alone."""
    found = os.fstat(file)
    try:
        there = path.lstat()
    except OSError:
        return False
    return os.path.samestat(found, there) and stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _begun(target: Path, file: int) -> _Part:
    """Return what an earlier try has left, as far as it can be relied on."""
    part = _Part(target, file, hashlib.sha256())
    with contextlib.suppress(OSError, ValueError, InvalidRequest):
        text, _ = plain_files.read(part.note, _NOTE_LIMIT)
        digest, whole = text.decode().split()
        part.digest, part.size = Digest.parse(digest), int(whole)
    there = os.fstat(file).st_size
    if part.digest is None or not 0 < there <= part.size:
        part.restart(None, 0)
        return part
    part.hasher = part.digest.hasher()
    while block := os.read(file, _BLOCK):
        part.hasher.update(block)
        part.at += len(block)
    return part


def _fetch(daemon: DaemonHttp, path: str, part: _Part, report: Report) -> None:
    """Ask until all is there."""
    broken = 0
    while not part.is_whole:
        before = part.at
        try:
            _fetch_once(daemon, path, part, report)
        except BROKEN as error:
            broken = 1 if part.at > before else broken + 1
            if broken >= ATTEMPTS:
                raise UpstreamUnreachable(
                    f"the connection to the daemon at {daemon.address} breaks ({error or type(error).__name__}); "
                    "the same command goes on with what has come"
                ) from None
            time.sleep(PAUSE)


def _fetch_once(daemon: DaemonHttp, path: str, part: _Part, report: Report) -> None:
    headers = {"Range": f"bytes={part.at}-", "If-Range": f'"{part.digest}"'} if part.at else {}
    with daemon.get(path, headers) as answer:
        digest, start, whole = (None, -1, 0) if answer.status == 416 else _described(answer)
        if (digest, start, whole) != (part.digest, part.at, part.size):
            _restart(part, digest, whole)
            if start != 0:
                raise http.client.HTTPException("the range that was asked for is not there")
        _take(daemon, answer, part, report)


def _restart(part: _Part, digest: Digest | None, whole: int) -> None:
    with writing(part.target):
        part.restart(digest, whole)
        part.note.unlink(missing_ok=True)
        if digest is not None:
            with part.note.open("x", encoding="utf-8") as note:
                note.write(f"{digest} {whole}\n")
    check_room(part.target.parent, whole)


def _described(answer: http.client.HTTPResponse) -> tuple[Digest, int, int]:
    """Return the digest that is answered, where the bytes begin, and how many all are.

    Raises:
        UpstreamBroken: that is not said.
    """
    said = answer.getheader("Docker-Content-Digest") or answer.getheader("ETag", "").strip('"')
    found = _RANGE.fullmatch(answer.getheader("Content-Range", ""))
    try:
        if answer.status == 206 and found is not None:
            return Digest.parse(said), int(found[1]), int(found[2])
        if answer.status == 200:
            return Digest.parse(said), 0, int(answer.getheader("Content-Length", ""))
    except (InvalidRequest, ValueError):
        pass
    raise UpstreamBroken("what answers at the daemon's address says no digest or no length; is it a wavelet of now?")


def _take(daemon: DaemonHttp, answer: http.client.HTTPResponse, part: _Part, report: Report) -> None:
    block = memoryview(bytearray(_BLOCK))
    report(part.at, part.size)
    while not part.is_whole:
        count = answer.readinto(block)
        if not count:
            raise http.client.IncompleteRead(b"", part.size - part.at)
        data = block[: min(count, part.size - part.at)]
        part.hasher.update(data)
        with writing(part.target):
            _write(part.file, data)
        part.at += len(data)
        daemon.seconds()
        report(part.at, part.size)


def _write(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]
