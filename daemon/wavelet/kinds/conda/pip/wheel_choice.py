"""The choice of a package's wheel for an image: the compatibility tags of its platform and Python (pure).

Rules: "Platform compatibility tags" of the packaging specifications; a manylinux wheel needs a glibc at least as new as
its name says.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Iterator

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from wavelet.errors import InvalidRequest, NotServed
from wavelet.image.reference import Platform

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""The minor version of the oldest glibc 2 that has wheels, by machine."""

_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_RESOLVED_FOR = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)
"""Minor versions of glibc 2 that the resolver knows targets for."""

_GLIBC = re.compile(r"2\.(\d{1,3})(?:\..*)?")
_PYTHON = re.compile(r"(\d+)\.(\d+)(?:\..*)?")


def machine_of(platform: Platform) -> str:
    """Return the machine's name in tags, `x86_64` or `aarch64`.

    Raises:
        NotServed: there is none.
    """
    machine = _MACHINES.get(platform.architecture) if platform.os == "linux" else None
    if machine is None:
        raise NotServed(f"pip: wheels are installed for linux/amd64 and linux/arm64, not for {platform}")
    return machine


def target_of(platform: Platform, glibc: str) -> str:
    """Return the resolver's name of the target, `x86_64-manylinux_2_28`: the newest that the image's glibc can run.

    Raises:
        NotServed: the platform, or a C library that the resolver has no target for.
    """
    minor = _minor(glibc)
    for known in _RESOLVED_FOR:
        if known <= minor:
            return f"{machine_of(platform)}-manylinux_2_{known}"
    raise NotServed(f"pip: the base image has glibc {glibc}; wheels are installed from glibc 2.{_RESOLVED_FOR[-1]} on")


def supported_tags(python: str, platform: Platform, glibc: str) -> tuple[Tag, ...]:
    """Return the tags that CPython `python` in the image takes, the preferred first.

    Raises:
        InvalidRequest: not a Python version.
        NotServed: as `target_of`.
    """
    found = _PYTHON.fullmatch(python)
    if found is None:
        raise InvalidRequest(f"pip: {python!r} is not a version of Python", field="packages")
    version = (int(found[1]), int(found[2]))
    platforms = list(_platforms(machine_of(platform), _minor(glibc)))
    interpreter = f"cp{version[0]}{version[1]}"
    native = cpython_tags(version, [interpreter], platforms)
    return (*native, *compatible_tags(version, interpreter, platforms))


def best(file_names: Iterable[str], tags: tuple[Tag, ...]) -> str | None:
    """Return the file name (as in a URL) of the wheel that an installer takes; of equals, the highest build."""
    ranks = {tag: -number for number, tag in enumerate(tags)}
    candidates: list[tuple[int, tuple[()] | tuple[int, str], str]] = []
    for file_name in file_names:
        try:
            _, _, build, own = parse_wheel_filename(urllib.parse.unquote(file_name))
        except InvalidWheelFilename:
            continue
        fitting = [ranks[tag] for tag in own if tag in ranks]
        if fitting:
            candidates.append((max(fitting), build, file_name))
    return max(candidates)[2] if candidates else None


def _minor(glibc: str) -> int:
    found = _GLIBC.fullmatch(glibc)
    if found is None:
        raise NotServed(
            f"pip: wheels are installed on base images with glibc 2, not with {glibc or 'another C library'}"
        )
    return int(found[1])


def _platforms(machine: str, newest: int) -> Iterator[str]:
    for minor in range(newest, _OLDEST[machine] - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _LEGACY:
            yield f"{_LEGACY[minor]}_{machine}"
    yield f"linux_{machine}"
