"""A directory of SIFs as Nextflow looks for them: Singularity's or Apptainer's `cacheDir`, or `libraryDir`.

For each file that was fetched the directory `.wavelet` in it has a record: digest, size and time. What agrees with its
record is there, and nobody is asked for it; so what is complete needs no daemon and no network.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from wavelet import plain_files
from wavelet.cli.pull.download import Fetched
from wavelet.errors import InvalidRequest
from wavelet.image.reference import Digest

_RECORDS = ".wavelet"
_RECORD_LIMIT = 16 * 1024
_BLOCK = 1024 * 1024

State = Literal["there", "foreign", "missing"]
"""It is as it was fetched; somebody else has made it; it is to be fetched."""


class _Record(Struct, kw_only=True):
    """What a file was when it had been fetched. `mtime` is in nanoseconds."""

    container: str
    platform: str
    digest: str
    size: int
    mtime: int


@dataclass(frozen=True, slots=True)
class SifDirectory:
    """See the module."""

    path: Path

    def prepare(self) -> None:
        """Make the directory, unless it is there.

        Raises:
            InvalidRequest: it cannot be made, or is none.
        """
        try:
            (self.path / _RECORDS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequest(f"--sif-dir: {self.path} cannot be made or written: {error.strerror}") from None

    def file(self, name: str) -> Path:
        """Return where the file of that name is."""
        return self.path / name

    def find(self, name: str, platform: str) -> tuple[State, Fetched | None]:
        """Say whether a file is there, and what it is, where a record says so.

        A file that differs from its record is read: where its bytes are others, it is to be fetched again.

        Args:
            name: the file's.
            platform: for which it is wanted; empty: whichever.
        """
        try:
            found = self.file(name).stat()
        except OSError:
            return "missing", None
        record = self._record(name)
        if record is None:
            return "foreign", None
        if record.size != found.st_size or (platform and platform != record.platform):
            return "missing", None
        fetched = Fetched(Digest.parse(record.digest), record.size)
        if record.mtime != found.st_mtime_ns:
            if not self._holds(name, fetched.digest):
                return "missing", None
            self.note(name, record.container, record.platform, fetched)
        return "there", fetched

    def note(self, name: str, container: str, platform: str, fetched: Fetched) -> None:
        """Record what a file is."""
        mtime = self.file(name).stat().st_mtime_ns
        record = _Record(
            container=container, platform=platform, digest=str(fetched.digest), size=fetched.size, mtime=mtime
        )
        place = self._place(name)
        # Without a record the file counts as somebody else's, which is there too.
        with contextlib.suppress(OSError):
            fresh = place.with_name(f"{place.name}.new")
            fresh.write_bytes(msgspec.json.encode(record) + b"\n")
            fresh.replace(place)

    def _place(self, name: str) -> Path:
        """Return where a record is: the file's name could be too long for more."""
        return self.path / _RECORDS / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def _record(self, name: str) -> _Record | None:
        try:
            data, _ = plain_files.read(self._place(name), _RECORD_LIMIT)
            record = msgspec.json.decode(data, type=_Record)
            Digest.parse(record.digest)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, InvalidRequest):
            return None
        return record

    def _holds(self, name: str, digest: Digest) -> bool:
        hasher = digest.hasher()
        try:
            with (
                plain_files.opened(self.file(name), follow=True) as descriptor,
                open(descriptor, "rb", closefd=False) as file,
            ):
                while block := file.read(_BLOCK):
                    hasher.update(block)
        except OSError:
            return False
        return digest.matches(hasher)
