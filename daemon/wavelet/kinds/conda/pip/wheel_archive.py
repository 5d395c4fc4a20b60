"""The reader of wheels (binary distribution format specification): members as streams, each verified against RECORD.

Nothing here trusts a wheel: sizes are bounded before anything is read, and every member has to be what RECORD says.
ValueError: the wheel is damaged, ill-formed, or not what RECORD says.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import stat
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from functools import cached_property
from typing import IO, BinaryIO, cast

from installer.records import Hash, parse_record_file
from installer.sources import WheelContentElement, WheelSource
from installer.utils import canonicalize_name, parse_wheel_filename

CHUNK = 256 * 1024
"""Bytes of a member that are in memory at a time."""
DOCUMENT_LIMIT = 64 * 1024 * 1024
"""Bytes of a member that is read whole: RECORD, METADATA, a script."""
MEMBERS = 500_000
"""Members that a wheel may have."""

_NEVER_CHANGED = 315_532_800
"""1980-01-01, where a member has a time that does not exist."""
_HASHES = ("sha256", "sha384", "sha512")
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_ENCRYPTED = 1


class Member:
    """One file of a wheel, open to be read once. At its end it is compared with RECORD."""

    def __init__(self, info: zipfile.ZipInfo, stream: IO[bytes], recorded: tuple[str, str] | None) -> None:
        self._stream = stream
        self._path = info.filename
        self._left = info.file_size
        self._recorded = recorded
        self._recorded_hash = hashlib.new(recorded[0].partition("=")[0] if recorded else "sha256")
        self._hash = hashlib.sha256()
        self.size = info.file_size
        self.mtime = time_of(info)
        self.executable = bool(stat.S_ISREG(info.external_attr >> 16) and info.external_attr >> 16 & 0o111)

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents, at most `CHUNK` bytes at a time.

        Raises:
            ValueError: they are not what RECORD says.
        """
        while self._left:
            data = self._stream.read(min(self._left, CHUNK))
            if not data:
                raise ValueError(f"{self._path} ends early")
            self._left -= len(data)
            self._hash.update(data)
            if self._recorded_hash.name != "sha256":
                self._recorded_hash.update(data)
            yield data
        self._verify()

    def whole(self) -> bytes:
        """Return the contents of a small file.

        Raises:
            ValueError: as `chunks`; or it is not small.
        """
        self.refuse_long()
        return b"".join(self.chunks())

    def refuse_long(self) -> None:
        """Check that the contents may be held in memory.

        Raises:
            ValueError: they are too many.
        """
        if self.size > DOCUMENT_LIMIT:
            raise ValueError(f"{self._path} has {self.size} bytes; no more than {DOCUMENT_LIMIT} are read")

    def hash_entry(self) -> Hash:
        """Return the digest of what was read, as RECORD has it."""
        return _entry(self._hash.digest())

    def _verify(self) -> None:
        if self._recorded is None:
            return
        expected, size = self._recorded
        read = self._hash if self._recorded_hash.name == "sha256" else self._recorded_hash
        if expected.partition("=")[2].rstrip("=") != _entry(read.digest()).value or (size and size != str(self.size)):
            raise ValueError(f"{self._path} is not what its RECORD says")


class Wheel(WheelSource):
    """A wheel's file, whose digest has been verified, as the installer takes it.

    `__pycache__` is left out: what is compiled there would be believed without a look at the source.
    """

    def __init__(self, archive: zipfile.ZipFile, file_name: str, limit: int) -> None:
        parsed = parse_wheel_filename(file_name)
        super().__init__(parsed.distribution, parsed.version)
        self._archive = archive
        self._members = [info for info in archive.infolist() if not info.is_dir()]
        self._infos = {info.filename: info for info in self._members}
        if len(self._infos) != len(self._members) or len(self._members) > MEMBERS:
            raise ValueError(f"it has members of one name, or more than {MEMBERS}")
        if any(info.flag_bits & _ENCRYPTED for info in self._members):
            raise ValueError("it is encrypted")
        if sum(info.file_size for info in self._members) > limit:
            raise ValueError(
                f"it inflates to more than {limit} bytes, all that is accepted of it (conda.package_limit)"
            )

    @cached_property
    def dist_info_dir(self) -> str:
        """Name of the one dist-info directory, which has to be that of the file's name."""
        found = {name.split("/")[0] for name in self._infos if name.split("/")[0].endswith(".dist-info")}
        if len(found) != 1:
            raise ValueError("it has not exactly one .dist-info directory")
        (directory,) = found
        name = directory.removesuffix(".dist-info").rpartition("-")[0]
        if canonicalize_name(name) != canonicalize_name(self.distribution):
            raise ValueError(f"its {directory} is not of {self.distribution}")
        return directory

    @cached_property
    def data_dir(self) -> str:
        """Name of the directory with what goes elsewhere."""
        return self.dist_info_dir.removesuffix(".dist-info") + ".data"

    @property
    def dist_info_filenames(self) -> list[str]:
        """Paths in the dist-info directory."""
        start = f"{self.dist_info_dir}/"
        return [name.removeprefix(start) for name in self._infos if name.startswith(start)]

    def read_dist_info(self, filename: str) -> str:
        """Return a document of the dist-info directory."""
        info = self._infos.get(f"{self.dist_info_dir}/{filename}")
        if info is None:
            raise ValueError(f"it has no {filename}")
        with self._archive.open(info) as stream:
            recorded = None if filename == "RECORD" else self._recorded(info.filename)
            return Member(info, stream, recorded).whole().decode("utf-8")

    @cached_property
    def metadata(self) -> Message:
        """What METADATA says: its headers. The parser of whole messages recurses where one is said to hold another."""
        return HeaderParser().parsestr(self.read_dist_info("METADATA"))

    @cached_property
    def newest(self) -> int:
        """The time of the newest member, seconds since the epoch."""
        return max(map(time_of, self._members))

    def get_contents(self) -> Iterator[WheelContentElement]:
        """Yield what is to be installed, in the wheel's own order; see `WheelSource`."""
        record = f"{self.dist_info_dir}/RECORD"
        for info in self._members:
            path = info.filename
            if path == f"{self.dist_info_dir}/INSTALLER" or "__pycache__" in path.split("/")[:-1]:
                continue
            recorded = None if path == record else self._recorded(path)
            with self._archive.open(info) as stream:
                member = Member(info, stream, recorded)
                yield (path, "", ""), cast(BinaryIO, member), member.executable

    @cached_property
    def _records(self) -> dict[str, tuple[str, str]]:
        rows = parse_record_file(self.read_dist_info("RECORD").splitlines())
        return {path: (digest, size) for path, digest, size in rows}

    def _recorded(self, path: str) -> tuple[str, str] | None:
        """Return digest and size that RECORD has of a member; None for what it cannot have."""
        found = self._records.get(path)
        directory, _, name = path.rpartition("/")
        if directory == self.dist_info_dir and name in _UNRECORDED:
            return None
        if found is None or not found[0]:
            raise ValueError(f"its RECORD does not have {path}")
        algorithm, _, value = found[0].partition("=")
        try:
            base64.b64decode(value + "=" * (-len(value) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            value = ""
        if algorithm not in _HASHES or not value:
            raise ValueError(f"its RECORD has no usable digest of {path}")
        return found


def hash_entry(data: bytes) -> Hash:
    """Return the digest of contents as RECORD has it."""
    return _entry(hashlib.sha256(data).digest())


def _entry(digest: bytes) -> Hash:
    return Hash("sha256", base64.urlsafe_b64encode(digest).rstrip(b"=").decode())


def time_of(info: zipfile.ZipInfo) -> int:
    """Return a member's time, seconds since the epoch; it has no time zone and is taken for UTC."""
    try:
        return max(calendar.timegm((*info.date_time, 0, 0, 0)), _NEVER_CHANGED)
    except ValueError:
        return _NEVER_CHANGED
