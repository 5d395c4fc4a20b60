"""The contents of lock files: for each platform, the files that an environment is made of. Pure.

Nothing is solved for what they name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from wavelet.errors import InvalidRequest
from wavelet.kinds.conda.locks.unchecked import text_of
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.conda.model.specs import without_login, wrong

READ_PLATFORMS = frozenset({"linux-64", "linux-aarch64", ""})
"""Platforms whose packages are read. What a lock has for others may be of any kind, and is passed over."""

LEAVES_LIMIT = 8
"""Leaves that are kept of a lock."""

_WHEEL = re.compile(r"\S+/[^/?#-]+-[^/?#-]+(?:-[0-9][^/?#-]*)?-[^/?#-]+-[^/?#-]+-[^/?#-]+\.whl")
_SIZE = re.compile(r"[0-9]{1,15}")


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


def locked_package(url: str, members: Mapping[str, object], field: str) -> Package:
    """Return a package by its URL and `sha256`, `md5` and `size` as a lock has them.

    Raises:
        InvalidRequest: it is not the URL of a package's file, or a checksum is none.
    """
    size = str(members.get("size") or "")
    sha256, md5 = (text_of(members.get(name)).lower() or None for name in ("sha256", "md5"))
    try:
        return Package.of(without_login(url), sha256, md5, int(size) if _SIZE.fullmatch(size) else None, field)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, field=field.partition(":")[0]) from None


def locked_wheel(url: str, members: Mapping[str, object], field: str) -> Wheel:
    """Return a wheel by its URL and `sha256` as a lock has them.

    Raises:
        InvalidRequest: it is no wheel's URL, or has no sha256.
    """
    url = without_login(url.removeprefix("direct+"))
    sha256 = text_of(members.get("sha256")).lower()
    if not url.startswith(("https://", "http://", "file:///")) or _WHEEL.fullmatch(url) is None:
        raise wrong(field, f"{url[:300]!r} is not the URL of a wheel, and nothing else is installed of Python packages")
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise wrong(field, f"{url[:300]!r} has no sha256, without which no wheel is taken")
    return Wheel(url, sha256)
