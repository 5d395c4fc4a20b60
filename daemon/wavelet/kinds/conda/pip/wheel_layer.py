"""The way from a wheel to its layer, in a worker process: installed by the `installer` library.

It is installed twice: once to learn all paths, since a layer begins with its directories, and once into the layer.
"""

from __future__ import annotations

import configparser
import posixpath
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from email.message import Message
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from installer import install
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import InvalidRecordEntry, RecordEntry
from installer.scripts import Script
from installer.utils import Scheme, construct_record_file

from wavelet.archive.layer_writer import LayerWriter, Written
from wavelet.errors import UpstreamBroken
from wavelet.kinds.conda.link.layer_info import LayerInfo
from wavelet.kinds.conda.link.link_policy import checked, parents
from wavelet.kinds.conda.link.prefix_layer import prefix_layer
from wavelet.kinds.conda.model.packages import PREFIX
from wavelet.kinds.conda.pip.wheel_archive import Member, Wheel, hash_entry

if TYPE_CHECKING:
    from installer.scripts import ScriptSection

INSTALLER = "wavelet"
INTERPRETER = f"{PREFIX}/bin/python"

_SHEBANG = b"#!python"
_ACTIVATION = "etc/conda/activate.d/"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises on a damaged archive, and on what it cannot read."""
_ILL_FORMED = (ValueError, LookupError, AssertionError, InstallerError, InvalidRecordEntry, configparser.Error)
"""What is raised on a wheel that makes no sense; the library asserts the form of entry points."""


def write_layer(
    archive: Path, blob: Path, file_name: str, python: str, site_packages: str, limit: int, room: int | None = None
) -> LayerInfo:
    """Write the layer of the wheel in `archive` to `blob`, a new file, and return its document.

    Args:
        archive: the wheel's file, verified.
        blob: where the layer goes.
        file_name: the wheel's name.
        python: minor version of the environment's Python.
        site_packages: where it looks, relative to the prefix.
        limit: bytes that the wheel may inflate to.

    Raises:
        UpstreamBroken: the wheel is damaged, ill-formed, too big, not what its RECORD says, or would reach outside of
            the prefix.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            return _write(Wheel(opened, file_name, limit), blob, python, site_packages, room)
    except _DAMAGED as error:
        raise _broken(file_name, f"the archive is damaged ({error})") from None
    except _ILL_FORMED as error:
        raise _broken(file_name, str(error) or "it is not well-formed") from None


def _broken(file_name: str, why: str) -> UpstreamBroken:
    return UpstreamBroken(f"{file_name}: {why}; the package index has to replace the wheel")


def _write(wheel: Wheel, blob: Path, python: str, site_packages: str, room: int | None) -> LayerInfo:
    name = str(wheel.metadata["Name"] or wheel.distribution)
    places = {
        "purelib": site_packages,
        "platlib": site_packages,
        "scripts": "bin",
        "headers": f"include/python{python}/{name}",
        "data": "",
    }
    paths = _Paths(places)
    metadata = {"INSTALLER": f"{INSTALLER}\n".encode()}
    install(wheel, paths, metadata)
    directories = paths.directories()
    with prefix_layer(blob, directories, room) as writer:
        install(wheel, _Layer(paths, writer, wheel.newest), metadata)
        written = writer.finish()
    return _info(wheel.metadata, name, wheel.version, paths.files, directories, written)


class _Paths(WheelDestination):
    """Learns where everything goes, and reads nothing.

    Attributes:
        files: all paths, relative to the prefix.
        scripts: those of entry points' scripts, which win over files of the same name.
    """

    def __init__(self, places: dict[str, str]) -> None:
        self._places = places
        self.files: set[str] = set()
        self.scripts: set[str] = set()

    def place(self, scheme: Scheme, path: str | PathLike[str]) -> str:
        """Return the path relative to the prefix."""
        # A segment that changes the meaning of those before it must not be resolved, but refused.
        return checked(f"{self._places[scheme]}/{fspath(path)}".removeprefix("/"))

    def directories(self) -> frozenset[str]:
        """Return all directories.

        Raises:
            ValueError: a path is both a file and a directory.
        """
        found = frozenset(directory for path in self.files for directory in parents(path))
        if both := sorted(found & self.files):
            raise ValueError(f"{both[0]} is a file, and has files in it")
        return found

    def prefix_for(self, root: Scheme, scheme: Scheme) -> str | None:
        """Return what goes before paths of `scheme` in a RECORD that is in `root`."""
        if self._places[root] == self._places[scheme]:
            return None
        return posixpath.relpath(f"/{self._places[scheme]}", f"/{self._places[root]}") + "/"

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """See the base class."""
        if "/" in name:
            raise ValueError(f"{name[:300]!r} is not a script's name")
        path = self.place(Scheme("scripts"), name)
        self.scripts.add(path)
        self.files.add(path)
        return RecordEntry(name, None, None)

    def write_file(
        self, scheme: Scheme, path: str | PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """See the base class."""
        self._take(self.place(scheme, path))
        return RecordEntry(fspath(path), None, None)

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """See the base class."""
        self._take(self.place(scheme, record_file_path))

    def _take(self, path: str) -> None:
        if path in self.files and path not in self.scripts:
            raise ValueError(f"it has two files for {path}")
        self.files.add(path)


class _Layer(WheelDestination):
    """Writes into a layer. What is made here has the time of the wheel's newest member."""

    def __init__(self, paths: _Paths, writer: LayerWriter, made_at: int) -> None:
        self._paths = paths
        self._writer = writer
        self._made_at = made_at

    def write_script(self, name: str, module: str, attr: str, section: ScriptSection) -> RecordEntry:
        """See the base class."""
        _, data = Script(name, module, attr, section).generate(INTERPRETER, "posix")
        return self._file(Scheme("scripts"), name, data, self._made_at, executable=True)

    def write_file(
        self, scheme: Scheme, path: str | PathLike[str], stream: BinaryIO, is_executable: bool
    ) -> RecordEntry:
        """See the base class."""
        path = fspath(path)
        place = self._paths.place(scheme, path)
        member: object = stream
        if not isinstance(member, Member):
            return self._file(scheme, path, stream.read(), self._made_at, executable=is_executable)
        if place in self._paths.scripts:
            return RecordEntry(path, None, None)
        # The executable bit of a script may be lost where the wheel was made.
        executable = is_executable or scheme == "scripts"
        contents = member.chunks()
        if scheme == "scripts" and (first := next(contents, b"")).startswith(_SHEBANG):
            member.refuse_long()
            data = _with_interpreter(first + b"".join(contents))
            return self._file(scheme, path, data, member.mtime, executable=executable)
        if scheme == "scripts":
            contents = _chained(first, contents)
        self._writer.stream(place, member.size, contents, member.mtime, executable=executable)
        return RecordEntry(path, member.hash_entry(), member.size)

    def finalize_installation(
        self, scheme: Scheme, record_file_path: str, records: Iterable[tuple[Scheme, RecordEntry]]
    ) -> None:
        """See the base class."""
        unique = {(scheme_, record.path): (scheme_, record) for scheme_, record in reversed(list(records))}
        stream = construct_record_file(unique.values(), lambda other: self._paths.prefix_for(scheme, other))
        with stream:
            self._file(scheme, record_file_path, stream.read(), self._made_at, executable=False)

    def _file(self, scheme: Scheme, path: str, data: bytes, mtime: int, *, executable: bool) -> RecordEntry:
        self._writer.file(self._paths.place(scheme, path), data, mtime, executable=executable)
        return RecordEntry(path, hash_entry(data), len(data))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _with_interpreter(script: bytes) -> bytes:
    """Return a script whose first line is `#!python…` with the environment's Python instead."""
    _, newline, rest = script.partition(b"\n")
    return f"#!{INTERPRETER}".encode() + (newline or b"\n") + rest


def _info(
    metadata: Message, name: str, version: str, files: set[str], directories: frozenset[str], written: Written
) -> LayerInfo:
    requires = [str(line) for line in metadata.get_all("Requires-Dist") or ()]
    index: dict[str, Any] = {"name": name, "version": str(metadata["Version"] or version), "requires_dist": requires}
    about = {"license": _license(metadata), "home": metadata["Home-page"]}
    return LayerInfo(
        kind="wheel",
        digest=str(written.digest),
        size=written.size,
        diff_id=str(written.diff_id),
        fragment=written.fragment,
        files=tuple(sorted(files)),
        directories=tuple(sorted(directories)),
        index=index,
        about={key: str(value) for key, value in about.items() if value},
        has_activation=any(path.startswith(_ACTIVATION) for path in files),
    )


def _license(metadata: Message) -> str:
    """Return the licence as an expression, or in the words of older metadata where these are a name and not a text."""
    words = str(metadata["License-Expression"] or metadata["License"] or "").strip()
    if words and "\n" not in words and words != "UNKNOWN":
        return words
    classifiers = [str(line) for line in metadata.get_all("Classifier") or ()]
    found = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    return " AND ".join(found)
