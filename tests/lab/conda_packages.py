"""Conda packages made by hand, as values and as archives, so that odd and broken ones can be made as well as good ones.

The formats: `.conda` is an uncompressed zip of `metadata.json`, `pkg-*.tar.zst` and `info-*.tar.zst`; `.tar.bz2` is one
tar with `info/` in front. The same package gives the same bytes.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from groups import program
from lab.processes import LabError

PLACEHOLDER = "/home/builder/feedstock_root/build_artifacts/lab_1700000000000/_h_env" + "_placehold" * 19
PLACEHOLDER = PLACEHOLDER[:255]
"""The prefix that packages are built for, as long as real ones."""

BUILT = 1_700_000_000
"""When packages are built, seconds since the epoch (2023-11-14); their files are an hour older."""

MEMBER_TIME = BUILT - 3600
LEVEL = 3
"""Of zstd."""

_BLOCK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file. `prefix` is how the placeholder stands in it: `text` or `binary`, or empty for not at all."""

    content: bytes
    mode: int = 0o644
    prefix: str = ""
    mtime: int = MEMBER_TIME
    no_link: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content)

    def blocks(self) -> Iterator[bytes]:
        """Return the content piece by piece."""
        yield self.content


@dataclass(frozen=True)
class Noise:
    """A big file made while it is written: without repetition, half of it zeros; all zeros without a seed."""

    size: int
    seed: int | None = 0
    mode: int = 0o644
    prefix: str = ""
    mtime: int = MEMBER_TIME
    no_link: bool = False

    def blocks(self) -> Iterator[bytes]:
        """Return the content piece by piece."""
        source = random.Random(self.seed)
        for start in range(0, self.size, _BLOCK):
            length = min(_BLOCK, self.size - start)
            yield (b"" if self.seed is None else source.randbytes(length // 2)).ljust(length, b"\0")


@dataclass(frozen=True)
class Symlink:
    """A symbolic link to `target`, as it stands."""

    target: str


@dataclass(frozen=True)
class HardLink:
    """A tar member that is a hard link to an earlier path of the package."""

    path: str


@dataclass(frozen=True)
class Directory:
    """An empty directory, listed in paths.json with path_type `directory`."""


@dataclass(frozen=True)
class Member:
    """Any tar member without content (`tarfile.LNKTYPE`, `CHRTYPE` ...), in paths.json an empty file."""

    kind: bytes
    target: str = ""


Entry = File | Noise | Symlink | HardLink | Directory | Member


def machine(name: str) -> Path:
    """Return where a program of this machine is."""
    found = program(name)
    if found is None:
        raise LabError(f"no {name} on this machine")
    return Path(found)


def script(text: str, mode: int = 0o755) -> File:
    """Return a program in text; the placeholder in it is patched if it has any."""
    return File(text.encode(), mode, "text" if PLACEHOLDER in text else "")


def text(content: str) -> File:
    """Return a text file; the placeholder in it is patched if it has any."""
    return script(content, 0o644)


def binary(content: bytes, mode: int = 0o755) -> File:
    """Return a binary file; the placeholder in it is patched if it has any."""
    return File(content, mode, "binary" if PLACEHOLDER.encode() in content else "")


@dataclass(frozen=True)
class Package:
    """A package.

    Attributes:
        files: by path in the archive.
        noarch: `python`, `generic` or empty.
        entry_points: `command = module:function`, for noarch python.
        timestamp: of its upload, in milliseconds: what "as of" compares.
        extension: `.conda` or `.tar.bz2`.
        index, about: further members of info/index.json and info/about.json.
        info: further files under `info/`.
        with_paths_json: without, it is as packages before 2017: `info/files`, `info/has_prefix`.
        unlisted: paths that are archived but not in paths.json.
        missing: entries of paths.json that are not archived.
    """

    name: str
    version: str = "1.0"
    build: str = "h0_0"
    subdir: str = "linux-64"
    files: Mapping[str, Entry] = field(default_factory=dict)
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    noarch: str = ""
    entry_points: tuple[str, ...] = ()
    timestamp: int = BUILT * 1000
    license: str = "MIT"
    extension: str = ".conda"
    index: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, bytes] = field(default_factory=dict)
    with_paths_json: bool = True
    unlisted: frozenset[str] = frozenset()
    missing: tuple[Mapping[str, Any], ...] = ()

    @property
    def stem(self) -> str:
        """`<name>-<version>-<build>`."""
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file_name(self) -> str:
        """Name of the archive."""
        return self.stem + self.extension

    @cached_property
    def info_files(self) -> dict[str, bytes]:
        """The files under `info/`, by their names there."""
        number = self.build.rpartition("_")[2]
        index: dict[str, Any] = {
            "arch": None if self.noarch else ("aarch64" if self.subdir == "linux-aarch64" else "x86_64"),
            "build": self.build,
            "build_number": int(number) if number.isdigit() else 0,
            "constrains": list(self.constrains),
            "depends": list(self.depends),
            "license": self.license,
            "name": self.name,
            "platform": None if self.noarch else "linux",
            "subdir": self.subdir,
            "timestamp": self.timestamp,
            "version": self.version,
        }
        about: dict[str, Any] = {
            "channels": ["conda-forge"],
            "description": f"{self.name} of the lab.",
            "dev_url": f"https://dev.example/{self.name}",
            "doc_url": f"https://doc.example/{self.name}",
            "home": f"https://home.example/{self.name}",
            "license": self.license,
            "license_file": "LICENSE",
            "summary": f"{self.name}, made in the lab",
        }
        index |= {"noarch": self.noarch} if self.noarch else {}
        found = {"index.json": _json(index | dict(self.index)), "about.json": _json(about | dict(self.about))}
        if self.with_paths_json:
            found["paths.json"] = _json({"paths": [*self._paths(), *self.missing], "paths_version": 1})
        else:
            found["has_prefix"] = "".join(self._has_prefix()).encode()
        found["files"] = "".join(f"{path}\n" for path in self._listed()).encode()
        if self.noarch == "python":
            points = {"entry_points": list(self.entry_points)}
            found["link.json"] = _json({"noarch": {"type": "python"} | points, "package_metadata_version": 1})
        found["licenses/LICENSE"] = f"{self.license}: the lab's own.\n".encode()
        return found | dict(self.info)

    def _listed(self) -> list[str]:
        return [path for path in sorted(self.files) if path not in self.unlisted]

    def _paths(self) -> Iterator[dict[str, Any]]:
        for path in self._listed():
            entry = self.files[path]
            if isinstance(entry, Directory):
                yield {"_path": path, "path_type": "directory"}
                continue
            if isinstance(entry, Symlink):
                digest, size = self._behind(path)
                yield {"_path": path, "path_type": "softlink", "sha256": digest, "size_in_bytes": size}
                continue
            content = self._content(path)
            digest, size = sha256_of(content), content.size
            line = {"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": size}
            line |= {"file_mode": content.prefix, "prefix_placeholder": PLACEHOLDER} if content.prefix else {}
            yield line | ({"no_link": True} if content.no_link else {})

    def _behind(self, path: str) -> tuple[str, int]:
        """Return what conda-build writes of a link: the sum and size of its file, of nothing where it dangles."""
        entry = self.files[path]
        assert isinstance(entry, Symlink)
        parts: list[str] = []
        for part in (Path(path).parent / entry.target).parts:
            if part == ".." and parts:
                parts.pop()
            else:
                parts.append(part)
        found = self.files.get("/".join(parts))
        if isinstance(found, File | Noise):
            return sha256_of(found), found.size
        return hashlib.sha256(b"").hexdigest(), 0

    def _has_prefix(self) -> Iterator[str]:
        for path in self._listed():
            entry = self.files[path]
            if isinstance(entry, File | Noise) and entry.prefix:
                yield f'"{PLACEHOLDER}" {entry.prefix} "{path}"\n'

    def _content(self, path: str) -> File | Noise:
        entry = self.files[path]
        while isinstance(entry, HardLink):
            entry = self.files[entry.path]
        if isinstance(entry, Member):
            return File(b"")
        assert isinstance(entry, File | Noise)
        return entry


def sha256_of(content: File | Noise) -> str:
    """Return the digest in hexadecimal."""
    digest = hashlib.sha256()
    for block in content.blocks():
        digest.update(block)
    return digest.hexdigest()


def write(channel: Path, package: Package) -> Path:
    """Write a package's archive into its subdir of a channel and return where it is."""
    path = channel / package.subdir / package.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        if package.extension == ".tar.bz2":
            with bz2.open(out, "wb", compresslevel=1) as packed, _tar(packed) as tar:
                _add_info(tar, package)
                _add_files(tar, package)
        else:
            _write_conda(out, package)
    return path


def archive(package: Package) -> bytes:
    """Return a (small) package's archive."""
    out = io.BytesIO()
    if package.extension == ".conda":
        _write_conda(out, package)
        return out.getvalue()
    with _tar(out) as tar:
        _add_info(tar, package)
        _add_files(tar, package)
    return bz2.compress(out.getvalue(), 1)


def _write_conda(out: BinaryIO, package: Package) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("metadata.json"), b'{"conda_pkg_format_version": 2}')
        for part, add in (("pkg", _add_files), ("info", _add_info)):
            compressor = zstandard.ZstdCompressor(level=LEVEL)
            member = zipfile.ZipInfo(f"{part}-{package.stem}.tar.zst")
            with (
                archive.open(member, "w", force_zip64=True) as raw,
                compressor.stream_writer(raw, closefd=False) as packed,
                _tar(packed) as tar,
            ):
                add(tar, package)


def _tar(out: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)


def _add_info(tar: tarfile.TarFile, package: Package) -> None:
    for name, content in sorted(package.info_files.items()):
        tar.addfile(_member(f"info/{name}", size=len(content), mtime=package.timestamp // 1000), io.BytesIO(content))


def _add_files(tar: tarfile.TarFile, package: Package) -> None:
    for path, entry in sorted(package.files.items(), key=lambda item: (isinstance(item[1], HardLink), item[0])):
        match entry:
            case Directory():
                tar.addfile(_member(path, type=tarfile.DIRTYPE, mode=0o755))
            case Symlink():
                tar.addfile(_member(path, type=tarfile.SYMTYPE, linkname=entry.target, mode=0o777))
            case Member():
                tar.addfile(_member(path, type=entry.kind, linkname=entry.target))
            case HardLink():
                content = package._content(path)
                settings = {"type": tarfile.LNKTYPE, "linkname": entry.path}
                tar.addfile(_member(path, mode=content.mode, mtime=content.mtime, **settings))
            case _:
                member = _member(path, size=entry.size, mode=entry.mode, mtime=entry.mtime)
                tar.addfile(member, _Pieces(entry.blocks()))


def _member(name: str, **settings: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = MEMBER_TIME, 0o644
    for attribute, value in settings.items():
        setattr(member, attribute, value)
    return member


class _Pieces(io.RawIOBase):
    """A file to read from, of pieces made on the way."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return exactly `size` bytes while there are as many."""
        parts, missing = [], size
        while missing and (self._rest or (piece := next(self._pieces, None)) is not None):
            self._rest = self._rest or piece or b""
            parts.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
