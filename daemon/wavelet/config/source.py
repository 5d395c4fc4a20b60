"""The sources of settings: a file, the drop-ins beside it, the environment over both, the command line over all.

What stands later counts, key by key; mappings are joined, lists take each other's place. Of every value it is
remembered where it came from, for messages and for `wavelet config show`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wavelet.bounded_yaml import read_yaml
from wavelet.config.checks import check
from wavelet.config.keys import ANY, CONFIG_VARIABLE, Key, matches, near, section_keys, variables, words_of
from wavelet.config.settings import Settings
from wavelet.config.values import ConfigError
from wavelet.errors import InvalidRequest
from wavelet.quantities import size as size_of

FILE_LIMIT = 1024 * 1024
"""Bytes of one file of settings; real ones have a few thousands."""

_DROP_INS = ".d"
_PLACE = re.compile(r"\.(\w+)|\[[^]]*\]")
_FAULT = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_NOT_AMONG = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)
_TYPES = {
    "`float`": "a number",
    "`int`": "a whole number",
    "`bool`": "true or false",
    "`str`": "a text",
    "`array`": "a list",
    "`object`": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where one process reads its settings, again and again.

    Attributes:
        named: the file that was named; None: that of the environment, the user's, or the machine's, if there is one.
        environment: the process's.
        overrides: what the command line says, by dotted key.
    """

    named: Path | None
    environment: Mapping[str, str]
    overrides: Mapping[str, object]

    @property
    def file(self) -> Path | None:
        """The file that counts now; None if there is none."""
        return self.named or usual_file(self.environment)

    def read(self) -> Settings:
        """Read the settings. Blocking.

        Raises:
            ConfigError: see `load`.
        """
        return load(self.file, self.environment, self.overrides)

    def files(self) -> list[Path]:
        """Return the files and the directory whose changes change the settings, there or not. Blocking."""
        path = self.file
        if path is None:
            return []
        try:
            read = files_of(path)
        except ConfigError:
            read = []  # reading it says so
        return list(dict.fromkeys((path, drop_in_directory(path), *read)))

    def origins(self) -> dict[str, str]:
        """Return for each dotted key that is set where its value came from. Blocking.

        Raises:
            ConfigError: a file cannot be read.
        """
        origins = _gather(self.file, self.environment, self.overrides).origins
        return {".".join(key): origin for key, origin in sorted(origins.items())}


def usual_file(environment: Mapping[str, str]) -> Path | None:
    """Return the file that counts where none is named, if there is one (or drop-ins beside where it would be)."""
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    user = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "wavelet" / "config.yaml"
    usual = (user, Path("/etc/wavelet/config.yaml"))
    return next((path for path in usual if path.is_file() or drop_in_directory(path).is_dir()), None)


def drop_in_directory(path: Path) -> Path:
    """Return the directory of a file's drop-ins: `config.d` for `config.yaml`."""
    return path.with_suffix(_DROP_INS)


def files_of(path: Path) -> list[Path]:
    """Return the files that are read for `path`, in their order. Blocking.

    Raises:
        ConfigError: the drop-in directory cannot be read.
    """
    directory = drop_in_directory(path)
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix == ".yaml" and not each.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return [path]
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be read: {error.strerror}") from None
    return [path, *found] if path.exists() else found


def load(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Read the file (where given) and its drop-ins, the environment, and `overrides` (dotted keys). Blocking.

    Raises:
        ConfigError: unreadable, not YAML, an unknown key (the near one is named) or a wrong value.
    """
    gathered = _gather(path, environment, overrides)
    try:
        settings = msgspec.convert(gathered.document, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise gathered.explain(str(error)) from None
    try:
        check(settings)
    except ConfigError as error:
        origin = gathered.origin_of(tuple((error.field or "").partition("[")[0].split(".")))
        raise ConfigError(f"{origin}: {error.message}", field=error.field) from None
    return settings


def _gather(path: Path | None, environment: Mapping[str, str], overrides: Mapping[str, object]) -> _Gathered:
    gathered = _Gathered()
    for file in [] if path is None else files_of(path):
        gathered.join(_document(file), (), str(file))
    for variable, key in variables().items():
        if variable in environment:
            gathered.put(key, _from_environment(environment[variable]), variable)
    for dotted, value in overrides.items():
        gathered.put(tuple(dotted.split(".")), value, f"--{dotted}")
    return gathered


@dataclass(slots=True)
class _Gathered:
    """What all places say together, and which of them says what."""

    document: dict[str, object] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def join(self, members: Mapping[str, object], prefix: Key, origin: str) -> None:
        """Take in a mapping, key by key."""
        for name, value in members.items():
            key = (*prefix, name)
            if isinstance(value, dict) and value:
                self.join(value, key, origin)
            elif value != "" or key not in section_keys():
                self.put(key, value, origin)

    def put(self, key: Key, value: object, origin: str) -> None:
        """Set one value, whatever stood there."""
        inner = self.document
        for depth, part in enumerate(key[:-1], 1):
            section = inner.setdefault(part, {})
            if not isinstance(section, dict):
                where, name = self.origin_of(key[:depth]), ".".join(key[:depth])
                raise ConfigError(f"{where}: {name}: holds no mapping of settings", field=name)
            inner = section
        inner[key[-1]] = value
        for below in [known for known in self.origins if known[: len(key)] == key]:
            del self.origins[below]
        self.origins[key] = origin

    def origin_of(self, key: Key) -> str:
        """Return where a value came from, or something of it, or the section that it is missed in."""
        for origin in (where for known, where in self.origins.items() if matches(known, key)):
            return origin
        return "the settings"

    def explain(self, message: str) -> ConfigError:
        """Return msgspec's message as one about a key and its place."""
        found = _FAULT.fullmatch(message)
        assert found is not None
        key: Key = tuple(part[1] or ANY for part in _PLACE.finditer(found["place"] or ""))
        unknown = _FIELD.fullmatch(found["what"])
        if unknown is not None:
            key = self._as_written((*key, unknown[1]))
            meant = near(key)
            hint = f"; did you mean `{meant}`?" if meant else ""
            return ConfigError(f"{self.origin_of(key)}: unknown key `{'.'.join(key)}`{hint}", field=".".join(key))
        key = self._as_written(key)
        what = _plainly(found["what"], key)
        where = f"{'.'.join(key)}: " if key else ""
        return ConfigError(f"{self.origin_of(key)}: {where}{what[:1].lower()}{what[1:]}", field=".".join(key))

    def _as_written(self, key: Key) -> Key:
        """Return a key with the site's own names in place of `ANY`, as far as they can be told."""
        same = (known[: len(key)] for known in self.origins if len(known) >= len(key) and matches(known, key))
        return next(same, key)


def _plainly(what: str, key: Key) -> str:
    """Return what msgspec says of a key's value in plain words, those that the key takes among them."""
    found = _NOT_AMONG.fullmatch(what)
    if found is not None:
        return f"{found['value']} is not one of {', '.join(words_of(key))}"
    for word, plain in _TYPES.items():
        what = what.replace(word, plain)
    return what


def _document(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise ConfigError(f"{path}: cannot be read: it has more than {size_of(FILE_LIMIT)}")
        document = read_yaml(data.decode("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8") from None
    except InvalidRequest as error:
        raise ConfigError(error.message) from None
    if isinstance(document, dict):
        return document
    if document == "":
        return {}
    raise ConfigError(f"{path}: holds no mapping of settings")


def _from_environment(text: str) -> object:
    """Read a variable: lists and mappings are JSON, and all else is the text that it is."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
