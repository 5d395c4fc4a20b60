"""The reader of conda packages, as streams: what a package says of itself, then its members one after the other.

The two formats (conda's documentation, "Conda package specification"): `.conda` is a zip of `info-*.tar.zst` and
`pkg-*.tar.zst`; `.tar.bz2` is one tar with `info/` in it, as a rule in front. Nothing here trusts a package: members,
documents and all that comes out of decompression are bounded, and nothing but documents is held in memory.
"""

from __future__ import annotations

import bz2
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard

from wavelet import foreign_json
from wavelet.archive.tar_reader import Bounds, Member, members_of
from wavelet.errors import UpstreamBroken
from wavelet.foreign_json import ForeignJsonError

_MIB = 1024 * 1024
DOCUMENTS = {
    "index.json": _MIB,
    "about.json": _MIB,
    "link.json": _MIB,
    "paths.json": 128 * _MIB,
    "files": 64 * _MIB,
    "has_prefix": 64 * _MIB,
}
"""What is read of `info/`, and of how many bytes at the most; the `paths.json` of 200,000 files has some 60 MB."""

_PARTS = 16
"""Members that a `.conda` may have, of which three are known."""
_METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_RATIO = 1000
_UNSUSPECTED = 4 * 1024**3
"""What comes out may be `_RATIO` times what goes in, and this many bytes whatever goes in."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file of `info/`, and its time of change, seconds since the epoch."""

    data: bytes
    mtime: int


class Archive:
    """The file of a package, whose digest has been verified.

    All of its methods raise UpstreamBroken, with the package's name: it is damaged, or it is more than is accepted.
    """

    def __init__(self, path: Path, name: str, limit: int) -> None:
        self._path = path
        self._name = name
        self._limit = min(limit, max(_UNSUSPECTED, _RATIO * path.stat().st_size))
        self._conda = name.endswith(".conda")

    def broken(self, what: str) -> UpstreamBroken:
        """Return the error that says what is wrong with this package."""
        shown = what[:1000].encode("utf-8", "backslashreplace").decode()  # names may be no text at all
        return UpstreamBroken(f"{self._name}: {shown}; the channel has to replace the package")

    def documents(self) -> Mapping[str, Document]:
        """Return the files of `info/` that are of use, by their names there."""
        found: dict[str, Document] = {}
        for member in self._members(info_only=True):
            folder, _, name = member.path.partition("/")
            if folder == "info" and name in DOCUMENTS and member.is_file:
                if member.size > DOCUMENTS[name]:
                    raise self.broken(f"info/{name} has {member.size} bytes; no more than {DOCUMENTS[name]} are read")
                found[name] = Document(b"".join(member.chunks()), member.mtime)
            elif folder != "info" and _complete(found):
                break
        return found

    def members(self) -> Iterator[Member]:
        """Yield all members in the archive's order. The contents of each are read before the next one is asked for."""
        return self._members(info_only=False)

    def _members(self, *, info_only: bool) -> Iterator[Member]:
        bounds = Bounds(self._limit, self.broken, setting="conda.package_limit")
        with ExitStack() as stack:
            if not self._conda:
                yield from members_of(stack.enter_context(bz2.open(self._path)), bounds)
                return
            for packed in self._parts(stack, "info-" if info_only else ""):
                inflated = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
                yield from members_of(stack.enter_context(inflated), bounds)

    def _parts(self, stack: ExitStack, prefix: str) -> list[IO[bytes]]:
        try:
            whole = stack.enter_context(zipfile.ZipFile(self._path))
            parts = [part for part in whole.infolist()[:_PARTS] if part.filename.endswith(".tar.zst")]
            if any(part.compress_type not in _METHODS for part in parts):
                raise zipfile.BadZipFile("its parts are compressed as no package's are")
            return [stack.enter_context(whole.open(part)) for part in parts if part.filename.startswith(prefix)]
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError) as error:
            raise self.broken(f"the archive is damaged ({error})") from None


class _Index(msgspec.Struct):
    noarch: Any = None


def _complete(found: Mapping[str, Document]) -> bool:
    """Tell whether no further document can be of use, so that there is no need to look behind the first file."""
    if not {"index.json", "about.json", "paths.json"} <= set(found):
        return False
    try:
        noarch = foreign_json.decode(found["index.json"].data, _Index).noarch
    except ForeignJsonError:
        return False
    return noarch != "python" or "link.json" in found
