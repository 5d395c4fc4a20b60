"""Lock files as others write them: conda-lock's, pixi's, and those of pixi that have lost their indentation. Pure.

Each says for each platform which files an environment is made of. Nothing is solved for what they name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.model.specs import normal_channel, without_login, wrong
from wavelet.plan.conda import Package, Wheel

_READ = frozenset({"linux-64", "linux-aarch64", ""})
"""Platforms whose packages are read. What a lock has for others may be of any kind, and is passed over."""

LEAVES_LIMIT = 8
"""Leaves that are kept of a lock."""

_PIXI_VERSIONS = ("4", "5", "6", "7")
_CONDA_LOCK_VERSIONS = ("1", "2", "3")
_MAIN = "main"
_WHEEL = re.compile(r"\S+/[^/?#-]+-[^/?#-]+(?:-[0-9][^/?#-]*)?-[^/?#-]+-[^/?#-]+-[^/?#-]+\.whl")
_SIZE = re.compile(r"[0-9]{1,15}")
_FLAT_ENVIRONMENT = re.compile(r"^environments:[ \t]*\n(?P<name>[A-Za-z0-9_-]+):[ \t]*$", re.MULTILINE)
_FLAT_ENTRY = re.compile(r"- (?P<kind>conda|pypi): (?P<url>\S+)")
_FLAT_PLATFORM = re.compile(r"(?P<subdir>noarch|(?:linux|osx|win|emscripten|wasi)-[a-z0-9]+):")
_FLAT_MEMBER = re.compile(r"(?P<name>sha256|md5|size): (?P<text>\S+)")


@dataclass(frozen=True, slots=True)
class Locked:
    """What a lock names for one platform.

    Attributes:
        subdir: `linux-64`; empty where it serves all platforms.
        packages: sorted and unique.
        wheels: sorted and unique.
        leaves: names of the packages that no other one depends on, sorted, as far as the lock tells: what somebody
            asked for once. They take no part in what a lock is.
    """

    subdir: str
    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...] = ()
    leaves: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @classmethod
    def of(
        cls,
        subdir: str,
        packages: Iterable[Package],
        wheels: Iterable[Wheel],
        field: str,
        needed: Collection[str] | None = None,
    ) -> Locked:
        """Return the lock of these. `needed` are names of those that others depend on, where the lock says it.

        Raises:
            InvalidRequest: it has two files of one package.
        """
        named: dict[str, Package] = {}
        for package in packages:
            other = named.setdefault(package.name, package)
            if other.url != package.url:
                raise wrong(field, f"names both {other.file_name} and {package.file_name} for one platform")
        leaves = _last(list(named)) if needed is None else [name for name in named if name not in needed]
        found = tuple(sorted(named.values(), key=_by_url))
        return cls(subdir, found, tuple(sorted(set(wheels))), tuple(sorted(leaves)[:LEAVES_LIMIT]))


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock file's channels, in their order, and what it names for each platform."""

    channels: tuple[str, ...]
    locked: tuple[Locked, ...]


def _last(names: list[str]) -> list[str]:
    """Return the last name of a list in the order in which packages are linked: nothing depends on that one."""
    return names[-1:] if names != sorted(names) else []


def _by_url(package: Package) -> str:
    return package.url


def locked_package(url: str, members: dict[str, Any], field: str) -> Package:
    """Return a package by its URL and `sha256`, `md5` and `size` as a lock has them.

    Raises:
        InvalidRequest: it is not the URL of a package's file, or a checksum is none.
    """
    size = str(members.get("size") or "")
    sha256, md5 = (_text(members.get(name)).lower() or None for name in ("sha256", "md5"))
    try:
        return Package.of(without_login(url), sha256, md5, int(size) if _SIZE.fullmatch(size) else None, field)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, field=field.partition(":")[0]) from None


def locked_wheel(url: str, members: dict[str, Any], field: str) -> Wheel:
    """Return a wheel by its URL and `sha256` as a lock has them.

    Raises:
        InvalidRequest: it is no wheel's URL, or has no sha256.
    """
    url = without_login(url.removeprefix("direct+"))
    sha256 = _text(members.get("sha256")).lower()
    if not url.startswith(("https://", "http://", "file:///")) or _WHEEL.fullmatch(url) is None:
        raise wrong(field, f"{url[:300]!r} is not the URL of a wheel, and nothing else is installed of Python packages")
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise wrong(field, f"{url[:300]!r} has no sha256, without which no wheel is taken")
    return Wheel(url, sha256)


# ---- conda-lock ----


def is_conda_lock(document: dict[str, Any]) -> bool:
    """Tell whether a mapping is a lock file of conda-lock (`version: 1`, `metadata`, `package`)."""
    return "package" in document and ("metadata" in document or "version" in document)


def read_conda_lock(document: dict[str, Any], field: str) -> LockFile:
    """Read a lock file of conda-lock: of its categories, `main`.

    Raises:
        InvalidRequest: it is broken, or of a version that is not known.
    """
    version = _text(document.get("version")) or "1"
    if version not in _CONDA_LOCK_VERSIONS:
        raise wrong(field, f"is a conda-lock file of version {version[:20]}; 1 is read")
    packages: dict[str, list[Package]] = {}
    wheels: dict[str, list[Wheel]] = {}
    needed: set[str] = set()
    for index, entry in enumerate(_list(document["package"], f"{field}: package")):
        where = f"{field}: package[{index}]"
        record = _mapping(entry, where)
        platform = _text(record.get("platform"))
        of_platform = packages.setdefault(platform, [])
        if platform not in _READ or _MAIN not in _categories(record):
            continue
        depends = record.get("dependencies")
        needed.update(depends if isinstance(depends, dict) else ())
        sums = _mapping(record.get("hash") or {}, where) | {"size": record.get("size")}
        if _text(record.get("manager")) == "pip":
            wheels.setdefault(platform, []).append(locked_wheel(_text(record.get("url")), sums, where))
        else:
            of_platform.append(locked_package(_text(record.get("url")), sums, where))
    metadata = _mapping(document.get("metadata") or {}, f"{field}: metadata")
    locked = (Locked.of(each, found, wheels.get(each, ()), field, needed) for each, found in packages.items())
    return LockFile(_channels(metadata.get("channels"), f"{field}: metadata.channels"), tuple(locked))


def _categories(record: dict[str, Any]) -> list[str]:
    several = record.get("categories")
    return list(map(_text, several)) if isinstance(several, list) else [_text(record.get("category")) or _MAIN]


# ---- pixi ----


def is_pixi_lock(document: dict[str, Any]) -> bool:
    """Tell whether a mapping is a lock file of pixi (`version: 6`, `environments`, `packages`)."""
    return "environments" in document and "version" in document


def read_pixi_lock(document: dict[str, Any], field: str) -> LockFile:
    """Read a lock file of pixi: its environment `default`, or the only one.

    Raises:
        InvalidRequest: it is broken, of a version that is not known, or has several environments and no default.
    """
    _check_pixi_version(_text(document.get("version")), field)
    environments = _mapping(document["environments"], f"{field}: environments")
    name = _chosen(list(environments), field)
    where = f"{field}: environments.{name}"
    environment = _mapping(environments[name], where)
    records = _pixi_records(_list(document.get("packages") or [], f"{field}: packages"), field)
    locked = []
    for subdir, entries in _mapping(environment.get("packages") or {}, f"{where}.packages").items():
        here = f"{where}.packages.{subdir}"
        listed = _list(entries or [], here) if subdir in _READ else []
        pairs = [_pixi_entry(entry, f"{here}[{index}]") for index, entry in enumerate(listed)]
        locked.append(_pixi_locked(subdir, pairs, records, here))
    return LockFile(_channels(environment.get("channels"), f"{where}.channels"), tuple(locked))


def _check_pixi_version(version: str, field: str) -> None:
    if version not in _PIXI_VERSIONS:
        raise wrong(field, f"is a pixi.lock of version {version[:20]!r}; {', '.join(_PIXI_VERSIONS)} are read")


def _chosen(names: list[str], field: str) -> str:
    if "default" in names or len(names) == 1:
        return "default" if "default" in names else names[0]
    raise wrong(field, f"environments: none of {', '.join(names)[:200]} is named default, so none is the one to take")


def _pixi_records(records: list[Any], field: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return each record by its kind and location."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for index, entry in enumerate(records):
        record = _mapping(entry, f"{field}: packages[{index}]")
        kind = next((kind for kind in ("conda", "pypi") if kind in record), _text(record.get("kind")))
        location = _text(record.get(kind) or record.get("url") or record.get("path"))
        found[kind, location] = record
    return found


def _pixi_entry(entry: Any, field: str) -> tuple[str, str]:
    record = _mapping(entry, field)
    for kind in ("conda", "pypi"):
        if kind in record:
            return kind, _text(record[kind])
    raise wrong(field, "is neither a conda nor a pypi package")


def _pixi_locked(
    subdir: str, pairs: list[tuple[str, str]], records: dict[tuple[str, str], dict[str, Any]], field: str
) -> Locked:
    conda = [locked_package(url, records.get((kind, url), {}), field) for kind, url in pairs if kind == "conda"]
    wheels = [locked_wheel(url, records.get((kind, url), {}), field) for kind, url in pairs if kind == "pypi"]
    depends = [each for pair in pairs if isinstance(each := records.get(pair, {}).get("depends"), list)]
    needed = {_text(spec).partition(" ")[0] for each in depends for spec in each}
    return Locked.of(subdir, conda, wheels, field, needed if depends else None)


# ---- pixi without indentation ----


def is_flat_pixi_lock(text: str) -> bool:
    """Tell whether a text is a pixi.lock whose lines have lost their indentation, as logs of builds leave them."""
    return _FLAT_ENVIRONMENT.search(text) is not None


def read_flat_pixi_lock(text: str, field: str) -> LockFile:
    """Read a pixi.lock whose lines have lost their indentation; it has one environment.

    Raises:
        InvalidRequest: it is broken.
    """
    version = re.search(r"^version: *(\S+)[ \t]*$", text, re.MULTILINE)
    _check_pixi_version(version[1] if version else "", field)
    found = _FLAT_ENVIRONMENT.search(text)
    lines = text[found.end() if found else 0 :].splitlines()
    sections = list(_flat_sections(lines))
    if len(sections) != 3:
        raise wrong(field, "is a pixi.lock without indentation and not of one environment")
    head, listed, described = sections
    channels = _channels([line[7:] for line in head if line.startswith("- url: ")], f"{field}: channels")
    records = _pixi_records(list(_flat_records(described)), field)
    locked = [_pixi_locked(subdir, pairs, records, field) for subdir, pairs in _flat_platforms(listed, field)]
    return LockFile(tuple(dict.fromkeys(channels)), tuple(locked))


def _flat_sections(lines: list[str]) -> Iterator[list[str]]:
    section: list[str] = []
    for line in lines:
        if line.rstrip() == "packages:":
            yield section
            section = []
        else:
            section.append(line.rstrip())
    yield section


def _flat_platforms(lines: list[str], field: str) -> list[tuple[str, list[tuple[str, str]]]]:
    platforms: list[tuple[str, list[tuple[str, str]]]] = []
    for line in lines:
        platform, entry = _FLAT_PLATFORM.fullmatch(line), _FLAT_ENTRY.fullmatch(line)
        if platform is not None:
            platforms.append((platform["subdir"], []))
        elif entry is not None and platforms:
            if platforms[-1][0] in _READ:
                platforms[-1][1].append((entry["kind"], entry["url"]))
        elif line:
            raise wrong(field, f"{line[:80]!r} has no place in a pixi.lock")
    return platforms


def _flat_records(lines: list[str]) -> Iterator[dict[str, Any]]:
    record: dict[str, Any] = {}
    for line in lines:
        entry, member = _FLAT_ENTRY.fullmatch(line), _FLAT_MEMBER.fullmatch(line)
        if entry is not None:
            if record:
                yield record
            record = {entry["kind"]: entry["url"]}
        elif member is not None:
            record.setdefault(member["name"], member["text"])
    if record:
        yield record


# ---- untrusted values ----


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(where, "is not a list")
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(where, "is not a mapping")
    return value


def _channels(value: Any, field: str) -> tuple[str, ...]:
    found = []
    for entry in _list(value or [], field):
        url = _text(entry.get("url")) if isinstance(entry, dict) else _text(entry)
        found.append(normal_channel(without_login(url + "/"), field))
    return tuple(dict.fromkeys(found))
