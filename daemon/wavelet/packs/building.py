"""The builder of a pack's layers: what its sources have, checked, as tars in gzip that are the same on every node.

Blocks; `build` runs in a worker process, so that its arguments and its result are plain values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from wavelet.archive.gzip_members import codec
from wavelet.archive.layer_writer import BlobWriter, Outgrown
from wavelet.archive.tar_format import DIRECTORY, END, FILE, HARD_LINK, XATTR, entry, padding
from wavelet.image.reference import Digest
from wavelet.kinds.augment.marks import EXISTING, KEEP
from wavelet.packs.certificates import of_certificates
from wavelet.packs.members import refused, unusable
from wavelet.packs.sources import (
    CAPABILITY,
    FILES_LIMIT,
    SIZE_LIMIT,
    Entry,
    inside,
    of_directory,
    of_files,
    of_tar,
)
from wavelet.packs.spec import (
    CertificatesSource,
    DirectorySource,
    FilesSource,
    ImageSource,
    LayerSpec,
    PackSpec,
    TarSource,
)

VERSION = 1
"""Of what is built: whoever changes a byte of it counts it up."""

ENTERED = "entered"
"""What is known of a directory that has no entry yet, and something in it."""

_SPECIAL_BITS = 0o6000
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Fetched:
    """A tar that was fetched for a layer, and for which architecture it is; None: as its layer says."""

    file: Path
    architecture: str | None = None


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer that was built: its file, and what is to be known of it; `paths` as `PackLayer` has them."""

    file: Path
    digest: Digest
    size: int
    diff_id: Digest
    architecture: str | None
    paths: frozenset[str]


def build(
    root: Path, spec: PackSpec, fetched: Mapping[int, Sequence[Fetched]], into: Path, room: int = SIZE_LIMIT
) -> list[BuiltLayer]:
    """Build the layers of a pack, the lowest first.

    Args:
        root: its directory.
        spec: what its `pack.yaml` says.
        fetched: of each layer that is made of an image or a URL, by its number: what was fetched.
        into: an empty directory, for a file each.
        room: bytes that one file may have.

    Raises:
        PackRefused: a layer cannot be built, or has what layers of packs may not have.
        NoSpace, OSError: it cannot be written.
    """
    built = []
    for number, layer in enumerate(spec.layers):
        for part, entries, architecture in _parts(root, layer, fetched.get(number, ())):
            file = into / f"{number}-{part}"
            built.append(_write(file, layer, _checked(entries, layer.place, spec), architecture, room))
    return built


def _parts(
    root: Path, layer: LayerSpec, fetched: Sequence[Fetched]
) -> Iterator[tuple[int, Iterator[Entry], str | None]]:
    source, architecture = layer.source, layer.architecture
    if isinstance(source, DirectorySource):
        yield 0, of_directory(root, source, layer.place), architecture
    elif isinstance(source, FilesSource):
        yield 0, of_files(root, source, layer.place), architecture
    elif isinstance(source, CertificatesSource):
        yield 0, of_certificates(root, source, layer.place), architecture
    elif isinstance(source, TarSource):
        at = f"{layer.place}.tar"
        file = inside(root, source.path, at)
        if not file.is_file():
            raise refused(at, f"{source.path!r} is not a file")
        yield 0, of_tar(file, at), architecture
    else:
        may_be_empty = isinstance(source, ImageSource)  # as builders leave layers of steps that have changed nothing
        for part, each in enumerate(fetched):
            entries = of_tar(each.file, layer.place, may_be_empty=may_be_empty)
            yield part, entries, each.architecture or architecture


def _checked(entries: Iterator[Entry], place: str, spec: PackSpec) -> Iterator[Entry]:
    """Yield entries that a layer of a pack may have.

    Raises:
        PackRefused: one is something else.
    """
    seen: dict[str, bytes | str] = {}
    count = size = 0
    for each in entries:
        if why := _refusal(each, seen, spec):
            raise refused(place, f"/{_shown(each.path)} {why}")
        count += 1
        size += each.size
        if size > SIZE_LIMIT or count > FILES_LIMIT:
            raise refused(place, f"more than {SIZE_LIMIT} bytes or {FILES_LIMIT} files, the most that a layer may have")
        if seen.get(each.path) == ENTERED:
            seen[each.path] = each.kind
        elif each.path in seen:
            continue  # a directory, as archives have it that were put together of others
        _enter(each, seen)
        yield each


def _enter(each: Entry, seen: dict[str, bytes | str]) -> None:
    """Take note of an entry, and of the directories that it is in."""
    seen[each.path] = each.kind
    above = each.path.rpartition("/")[0]
    while above and above not in seen:
        seen[above] = ENTERED
        above = above.rpartition("/")[0]


def _refusal(each: Entry, seen: Mapping[str, bytes | str], spec: PackSpec) -> str:
    """Return why an entry cannot be in a layer, `seen` being those before it; empty: it can."""
    if isinstance(each.kind, str):
        return f"is {each.kind}, which packs may not have"
    return _misplaced(each, seen) or ("" if "setuid" in spec.allow else _privileged(each))


def _misplaced(each: Entry, seen: Mapping[str, bytes | str]) -> str:
    parts = each.path.split("/")
    if why := unusable(parts):
        return why
    if "" in parts or "." in parts:
        return "is not a path in normal form"
    return _colliding(each, seen)


def _colliding(each: Entry, seen: Mapping[str, bytes | str]) -> str:
    before = seen.get(each.path)
    if before == ENTERED and each.kind != DIRECTORY:
        return "is no directory, and there is something below it"
    if before not in (None, ENTERED) and not before == each.kind == DIRECTORY:
        return "is there twice"
    if above := _covered(each.path, seen):
        return f"lies below /{_shown(above)}, which is no directory"
    if each.kind == HARD_LINK and seen.get(each.target) != FILE:
        return f"is a hard link to /{_shown(each.target)}, which is no file before it in the same tar"
    return ""


def _privileged(each: Entry) -> str:
    if each.kind != DIRECTORY and each.mode & _SPECIAL_BITS:
        return "is setuid or setgid, so that whoever runs it is somebody else; if that is meant, say allow: [setuid]"
    if each.capabilities:
        return f"gives capabilities ({CAPABILITY}) to whoever runs it; if that is meant, say allow: [setuid]"
    return ""


def _covered(path: str, seen: Mapping[str, bytes | str]) -> str:
    above = path.rpartition("/")[0]
    while above:
        if seen.get(above, DIRECTORY) not in (DIRECTORY, ENTERED):
            return above
        above = above.rpartition("/")[0]
    return ""


def _shown(path: str) -> str:
    return path.encode("utf-8", "replace").decode()[:200]


def _write(file: Path, layer: LayerSpec, entries: Iterator[Entry], architecture: str | None, room: int) -> BuiltLayer:
    paths = []
    place = layer.place
    records = {KEEP.encode(): EXISTING.encode()} if layer.keeps_existing else {}
    blob = BlobWriter(file, room)
    try:
        for each in entries:
            _put(blob, each, place, records)
            if each.kind != DIRECTORY:
                paths.append(each.path)
        blob.write(END)
        blob.cut()
    except Outgrown:
        raise refused(place, f"more than {room} bytes, compressed") from None
    except UnicodeEncodeError:
        raise refused(place, "where a link leads is not UTF-8") from None
    finally:
        blob.close()
    digest, size, diff_id = blob.digests()
    return BuiltLayer(file, digest, size, diff_id, architecture, frozenset(paths))


def _put(blob: BlobWriter, each: Entry, place: str, records: Mapping[bytes, bytes]) -> None:
    assert isinstance(each.kind, bytes), "checked"
    name = f"{each.path}/" if each.kind == DIRECTORY else each.path
    said = {XATTR + CAPABILITY.encode(): each.capabilities, **records} if each.capabilities else records
    blob.write(entry(name, each.kind, each.mode, each.mtime, size=each.size, target=each.target, records=said))
    left = each.size
    for chunk in each.chunks:
        left -= len(chunk)
        blob.write(chunk)
    if left:
        raise refused(place, f"/{_shown(each.path)} has changed while it was read")
    blob.write(padding(each.size))


def version_of(spec: PackSpec, layers: Sequence[BuiltLayer]) -> str:
    """Return the version of a pack that names none: the first digits of the digest of what was built."""
    said = [spec.env, spec.entrypoint, spec.needs.devices, spec.needs.capabilities]
    built = [(str(each.digest), each.architecture) for each in layers]
    return hashlib.sha256(msgspec.json.encode([said, built])).hexdigest()[:_DIGITS]


def builder() -> str:
    """Return what besides its sources a layer's bytes depend on."""
    using = codec()
    return f"{VERSION} {using.name} {using.level}"
