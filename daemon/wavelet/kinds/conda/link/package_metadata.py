"""The metadata of a conda package, its `info/`, read into values (pure). ValueError: that cannot be.

Formats: conda's documentation, "Conda package specification"; packages from before `paths.json` have lists instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from wavelet import foreign_json
from wavelet.foreign_json import ForeignJsonError
from wavelet.kinds.conda.model.packages import PREFIX

Mode = Literal["text", "binary"]

PATHS_LIMIT = 500_000
"""Paths of one package. The largest packages of public channels have a tenth of that."""

_OLD_PLACEHOLDER = "/opt/anaconda1" + "anaconda2" + "anaconda3"
"""What stands in old packages that do not name theirs. In two parts, so that it survives being packaged itself."""
_WORD = r'"(?:[^"\\]|\\.)*"|\S+'
_HAS_PREFIX = re.compile(rf"\s*({_WORD})(?:\s+(text|binary)\s+({_WORD}))?\s*", re.IGNORECASE)
_COMMAND = re.compile(r"[^./\\\0\s][^/\\\0\n]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The prefix that a file was built for, to be replaced wherever it stands."""

    prefix: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class PathEntry:
    """A path that a package has listed for installation. Whether it may be hard-linked is of no use here."""

    path: str
    is_directory: bool = False
    placeholder: Placeholder | None = None


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A command that calls a Python function."""

    command: str
    module: str
    function: str

    @classmethod
    def parse(cls, text: str) -> EntryPoint:
        """Read `command = module:function`.

        Raises:
            ValueError: it is none, or has in it what would be code or a path.
        """
        command, _, rest = text.partition("=")
        module, _, function = rest.partition(":")
        point = cls(command.strip(), module.strip(), function.strip())
        if not (
            _COMMAND.fullmatch(point.command) and _DOTTED.fullmatch(point.module) and _DOTTED.fullmatch(point.function)
        ):
            raise ValueError(f"{text[:200]!r} is not an entry point")
        return point


@dataclass(frozen=True, slots=True)
class Metadata:
    """See the module.

    Attributes:
        index: the members of `index.json` that matter.
        about: `about.json` as it is.
        paths: what to install, each once.
        entry_points: of noarch Python packages.
    """

    index: Mapping[str, Any]
    about: Mapping[str, Any]
    paths: tuple[PathEntry, ...]
    entry_points: tuple[EntryPoint, ...]

    @property
    def name(self) -> str:
        """The package's name."""
        return str(self.index["name"])

    @property
    def is_noarch_python(self) -> bool:
        """Whether its files go where a Python looks for them."""
        return bool(self.index.get("noarch") == "python")


class _Index(msgspec.Struct, omit_defaults=True):
    """The members of `index.json` that are kept. Null is the same as absent."""

    name: str
    version: str | None = None
    build: str | None = None
    build_number: int | None = None
    depends: list[str] | None = None
    constrains: list[str] | None = None
    noarch: str | bool | None = None
    subdir: str | None = None
    arch: str | None = None
    platform: str | None = None
    license: str | None = None
    license_family: str | None = None
    timestamp: int | float | None = None
    track_features: str | list[str] | None = None
    features: str | list[str] | None = None
    python_site_packages_path: str | None = None


class _Path(msgspec.Struct, rename={"path": "_path"}):
    path: str
    path_type: str = "hardlink"
    prefix_placeholder: str | None = None
    file_mode: str | None = None


class _Paths(msgspec.Struct):
    paths: list[_Path]


class _NoarchLink(msgspec.Struct):
    entry_points: list[str] = []


class _Link(msgspec.Struct):
    noarch: _NoarchLink = msgspec.field(default_factory=_NoarchLink)


def parse_metadata(documents: Mapping[str, bytes]) -> Metadata:
    """Read the documents of `info/`, by name.

    Raises:
        ValueError: one that is needed is missing, or one is not what it should be.
    """
    if "index.json" not in documents:
        raise ValueError("it has no info/index.json")
    index = msgspec.to_builtins(_decode(documents, "index.json", _Index, None))
    link = _decode(documents, "link.json", _Link, _Link()) if index.get("noarch") == "python" else _Link()
    return Metadata(
        index,
        _decode(documents, "about.json", dict[str, Any], {}),
        _paths(documents),
        tuple(map(EntryPoint.parse, link.noarch.entry_points)),
    )


def _decode(documents: Mapping[str, bytes], name: str, kind: Any, absent: Any) -> Any:
    if name not in documents:
        return absent
    try:
        return foreign_json.decode(documents[name], kind)
    except ForeignJsonError as error:
        raise ValueError(f"info/{name} cannot be read: {error}") from None


def _paths(documents: Mapping[str, bytes]) -> tuple[PathEntry, ...]:
    if documents.get("paths.json", b"").count(b'"_path"') > PATHS_LIMIT:
        raise ValueError(f"info/paths.json has more than the {PATHS_LIMIT} paths that are accepted")
    if "paths.json" in documents:
        entries = [_entry(wire) for wire in _decode(documents, "paths.json", _Paths, None).paths]
    elif "files" in documents:
        placeholders = dict(map(_has_prefix, _lines(documents, "has_prefix")))
        entries = [PathEntry(path, placeholder=placeholders.get(path)) for path in _lines(documents, "files")]
    else:
        raise ValueError("it has neither info/paths.json nor info/files")
    unique = {entry.path: entry for entry in entries}
    return tuple(unique.values())


def _entry(wire: _Path) -> PathEntry:
    if wire.path_type == "directory":
        return PathEntry(wire.path.rstrip("/"), is_directory=True)
    if not wire.prefix_placeholder or wire.file_mode not in ("text", "binary"):
        return PathEntry(wire.path)
    return PathEntry(wire.path, placeholder=_placeholder(wire.prefix_placeholder, wire.file_mode))


def _placeholder(prefix: str, mode: Any) -> Placeholder:
    # A shorter one would let files grow as they are linked, and stands everywhere by chance.
    if not prefix.startswith("/") or len(prefix) < len(PREFIX) or "\0" in prefix:
        raise ValueError(f"{prefix[:200]!r} is not a placeholder: an absolute path of {len(PREFIX)} characters or more")
    return Placeholder(prefix, mode)


def _lines(documents: Mapping[str, bytes], name: str) -> list[str]:
    try:
        text = documents.get(name, b"").decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"info/{name} cannot be read: {error}") from None
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _has_prefix(line: str) -> tuple[str, Placeholder]:
    """Read a line of `has_prefix`: a path, or placeholder, mode and path; each may be quoted."""
    found = _HAS_PREFIX.fullmatch(line)
    if found is None:
        raise ValueError(f"info/has_prefix has a line that cannot be read: {line[:200]!r}")
    first, mode, path = found.groups()
    if mode is None:
        return _unquoted(first), Placeholder(_OLD_PLACEHOLDER, "text")
    return _unquoted(path), _placeholder(_unquoted(first), mode.lower())


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token
