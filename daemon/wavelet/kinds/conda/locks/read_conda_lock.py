"""Lock files of conda-lock. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wavelet.kinds.conda.locks.locked import READ_PLATFORMS, Locked, LockFile, locked_package, locked_wheel
from wavelet.kinds.conda.locks.unchecked import channels_of, list_of, mapping_of, text_of
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.conda.model.specs import wrong

_VERSIONS = ("1", "2", "3")
_MAIN = "main"


def is_conda_lock(document: Mapping[str, object]) -> bool:
    """Tell whether a mapping is a lock file of conda-lock (`version: 1`, `metadata`, `package`)."""
    return "package" in document and ("metadata" in document or "version" in document)


def read_conda_lock(document: Mapping[str, object], field: str) -> LockFile:
    """Read a lock file of conda-lock: of its categories, `main`.

    Raises:
        InvalidRequest: it is broken, or of a version that is not known.
    """
    version = text_of(document.get("version")) or "1"
    if version not in _VERSIONS:
        raise wrong(field, f"is a conda-lock file of version {version[:20]}; 1 is read")
    packages: dict[str, list[Package]] = {}
    wheels: dict[str, list[Wheel]] = {}
    needed: set[str] = set()
    for index, entry in enumerate(list_of(document["package"], f"{field}: package")):
        where = f"{field}: package[{index}]"
        record = mapping_of(entry, where)
        platform = text_of(record.get("platform"))
        of_platform = packages.setdefault(platform, [])
        if platform not in READ_PLATFORMS or _MAIN not in _categories(record):
            continue
        depends = record.get("dependencies")
        needed.update(depends if isinstance(depends, dict) else ())
        sums = mapping_of(record.get("hash") or {}, where) | {"size": record.get("size")}
        if text_of(record.get("manager")) == "pip":
            wheels.setdefault(platform, []).append(locked_wheel(text_of(record.get("url")), sums, where))
        else:
            of_platform.append(locked_package(text_of(record.get("url")), sums, where))
    metadata = mapping_of(document.get("metadata") or {}, f"{field}: metadata")
    locked = (Locked.of(each, found, wheels.get(each, ()), field, needed) for each, found in packages.items())
    return LockFile(channels_of(metadata.get("channels"), f"{field}: metadata.channels"), tuple(locked))


def _categories(record: Mapping[str, object]) -> list[str]:
    several = record.get("categories")
    return list(map(text_of, several)) if isinstance(several, list) else [text_of(record.get("category")) or _MAIN]
