"""Lock files of pixi, those too that have lost their indentation. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from wavelet.kinds.conda.locks.locked import READ_PLATFORMS, Locked, LockFile, locked_package, locked_wheel
from wavelet.kinds.conda.locks.unchecked import channels_of, list_of, mapping_of, text_of
from wavelet.kinds.conda.model.specs import wrong

_VERSIONS = ("4", "5", "6", "7")
_FLAT_ENVIRONMENT = re.compile(r"^environments:[ \t]*\n(?P<name>[A-Za-z0-9_-]+):[ \t]*$", re.MULTILINE)
_FLAT_ENTRY = re.compile(r"- (?P<kind>conda|pypi): (?P<url>\S+)")
_FLAT_PLATFORM = re.compile(r"(?P<subdir>noarch|(?:linux|osx|win|emscripten|wasi)-[a-z0-9]+):")
_FLAT_MEMBER = re.compile(r"(?P<name>sha256|md5|size): (?P<text>\S+)")


def is_pixi_lock(document: Mapping[str, object]) -> bool:
    """Tell whether a mapping is a lock file of pixi (`version: 6`, `environments`, `packages`)."""
    return "environments" in document and "version" in document


def read_pixi_lock(document: Mapping[str, object], field: str) -> LockFile:
    """Read a lock file of pixi: its environment `default`, or the only one.

    Raises:
        InvalidRequest: it is broken, of a version that is not known, or has several environments and no default.
    """
    _check_version(text_of(document.get("version")), field)
    environments = mapping_of(document["environments"], f"{field}: environments")
    name = _chosen(list(environments), field)
    where = f"{field}: environments.{name}"
    environment = mapping_of(environments[name], where)
    records = _records(list_of(document.get("packages") or [], f"{field}: packages"), field)
    locked = []
    for subdir, entries in mapping_of(environment.get("packages") or {}, f"{where}.packages").items():
        here = f"{where}.packages.{subdir}"
        listed = list_of(entries or [], here) if subdir in READ_PLATFORMS else []
        pairs = [_entry(entry, f"{here}[{index}]") for index, entry in enumerate(listed)]
        locked.append(_locked(subdir, pairs, records, here))
    return LockFile(channels_of(environment.get("channels"), f"{where}.channels"), tuple(locked))


def _check_version(version: str, field: str) -> None:
    if version not in _VERSIONS:
        raise wrong(field, f"is a pixi.lock of version {version[:20]!r}; {', '.join(_VERSIONS)} are read")


def _chosen(names: list[str], field: str) -> str:
    if "default" in names or len(names) == 1:
        return "default" if "default" in names else names[0]
    raise wrong(field, f"environments: none of {', '.join(names)[:200]} is named default, so none is the one to take")


def _records(records: list[object], field: str) -> dict[tuple[str, str], dict[str, object]]:
    """Return each record by its kind and location."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for index, entry in enumerate(records):
        record = mapping_of(entry, f"{field}: packages[{index}]")
        kind = next((kind for kind in ("conda", "pypi") if kind in record), text_of(record.get("kind")))
        location = text_of(record.get(kind) or record.get("url") or record.get("path"))
        found[kind, location] = record
    return found


def _entry(entry: object, field: str) -> tuple[str, str]:
    record = mapping_of(entry, field)
    for kind in ("conda", "pypi"):
        if kind in record:
            return kind, text_of(record[kind])
    raise wrong(field, "is neither a conda nor a pypi package")


def _locked(
    subdir: str, pairs: list[tuple[str, str]], records: dict[tuple[str, str], dict[str, object]], field: str
) -> Locked:
    conda = [locked_package(url, records.get((kind, url), {}), field) for kind, url in pairs if kind == "conda"]
    wheels = [locked_wheel(url, records.get((kind, url), {}), field) for kind, url in pairs if kind == "pypi"]
    depends = [each for pair in pairs if isinstance(each := records.get(pair, {}).get("depends"), list)]
    needed = {text_of(spec).partition(" ")[0] for each in depends for spec in each}
    return Locked.of(subdir, conda, wheels, field, needed if depends else None)


# ---- without indentation ----


def is_flat_pixi_lock(text: str) -> bool:
    """Tell whether a text is a pixi.lock whose lines have lost their indentation, as logs of builds leave them."""
    return _FLAT_ENVIRONMENT.search(text) is not None


def read_flat_pixi_lock(text: str, field: str) -> LockFile:
    """Read a pixi.lock whose lines have lost their indentation; it has one environment.

    Raises:
        InvalidRequest: it is broken.
    """
    version = re.search(r"^version: *(\S+)[ \t]*$", text, re.MULTILINE)
    _check_version(version[1] if version else "", field)
    found = _FLAT_ENVIRONMENT.search(text)
    lines = text[found.end() if found else 0 :].splitlines()
    sections = list(_flat_sections(lines))
    if len(sections) != 3:
        raise wrong(field, "is a pixi.lock without indentation and not of one environment")
    head, listed, described = sections
    channels = channels_of([line[7:] for line in head if line.startswith("- url: ")], f"{field}: channels")
    records = _records(list(_flat_records(described)), field)
    locked = [_locked(subdir, pairs, records, field) for subdir, pairs in _flat_platforms(listed, field)]
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
            if platforms[-1][0] in READ_PLATFORMS:
                platforms[-1][1].append((entry["kind"], entry["url"]))
        elif line:
            raise wrong(field, f"{line[:80]!r} has no place in a pixi.lock")
    return platforms


def _flat_records(lines: list[str]) -> Iterator[dict[str, object]]:
    record: dict[str, object] = {}
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
