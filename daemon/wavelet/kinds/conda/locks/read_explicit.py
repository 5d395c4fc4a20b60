"""Lists of the URLs of packages, `@EXPLICIT` (conda list --explicit), with wheels as comments in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wavelet.kinds.conda.locks.locked import Locked, locked_package, locked_wheel
from wavelet.kinds.conda.model.packages import Package, Wheel
from wavelet.kinds.conda.model.specs import wrong

_NOARCH = "noarch"
_PLATFORM = re.compile(r"#[ \t]*platform:[ \t]*(?P<subdir>[a-z]+-[a-z0-9]+)[ \t]*")
_PIP = re.compile(
    r"#[ \t]*pip(?::[ \t]*|[ \t]+)(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?[ \t]*(?P<rest>(?:@|[=~<>!]=|=|[<>]).*)",
    re.IGNORECASE,
)
_WHEEL = re.compile(r"#[ \t]*wheel:[ \t]*(?P<rest>\S.*)")
_WHEEL_INSIDE = re.compile(r"[a-z+]+://\S+\.whl(?![\w-])", re.IGNORECASE)
_PLACE = re.compile(r"@?[ \t]*(?P<url>[^\s#]+)(?:(?:#|[ \t]+--hash[= ])(?:sha256[:=])(?P<sha256>\w*))?[ \t]*")


def read_explicit(text: str, field: str) -> tuple[Locked, ...]:
    """Read a list of the URLs of packages, and the wheels that comments in it name.

    Wheels stand as `# pip <name> @ <URL>#sha256=<hex>`, which conda-lock writes too, for the form has none of its own.

    Raises:
        InvalidRequest: a line is none of these; a Python package is named without the URL and sha256 of a wheel.
    """
    packages: list[Package] = []
    wheels: list[Wheel] = []
    platform = ""
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        where = f"{field}: line {number}"
        if line.startswith("#"):
            said = _PLATFORM.fullmatch(line)
            platform = said["subdir"] if said is not None and not platform else platform
            named = _PIP.fullmatch(line) or _WHEEL.fullmatch(line)
            if named is not None:
                wheels.append(_wheel(named["rest"], where))
            elif _WHEEL_INSIDE.search(line):
                why = "names a wheel in a way that is not read; write `# pip <name> @ <URL>#sha256=<hex>`"
                raise wrong(where, f"{why}, or leave the comment out")
        elif line and line != "@EXPLICIT":
            packages.append(explicit_package(line, where))
    return of_packages(packages, wheels, field, platform)


def _wheel(place: str, where: str) -> Wheel:
    found = _PLACE.fullmatch(place)
    if found is None or "://" not in found["url"]:
        why = "names a Python package without the URL of its wheel; write `# pip <name> @ <URL>#sha256=<hex>`, or give"
        raise wrong(where, f"{why} an environment in YAML with a section for pip")
    return locked_wheel(found["url"], {"sha256": found["sha256"] or ""}, where)


def explicit_package(line: str, where: str) -> Package:
    """Read `<URL>[#<md5>]` or `<URL>#sha256:<sha256>`.

    Raises:
        InvalidRequest: it is not the URL of a package's file, or what follows is no checksum.
    """
    url, _, checksum = line.partition("#")
    kind, _, digits = checksum.rpartition(":")
    kind = kind or ("sha256" if len(digits) == 64 else "md5")
    if kind not in ("sha256", "md5"):
        raise wrong(where, f"{checksum[:80]!r} is not a checksum; it takes #<md5> or #sha256:<sha256>")
    return locked_package(url.strip(), {kind: digits}, where)


def of_packages(packages: list[Package], wheels: Iterable[Wheel], field: str, platform: str = "") -> tuple[Locked, ...]:
    """Return packages and wheels as the lock of the one platform that they are for; nothing if there are none.

    `platform` is what the file says of itself (`linux-64`), which counts where all packages are for any platform.

    Raises:
        InvalidRequest: packages are for several platforms, or several files of one package.
    """
    wheels = tuple(wheels)
    if not packages and not wheels:
        return ()
    subdirs = sorted({package.subdir for package in packages} - {_NOARCH}) or [platform]
    if len(subdirs) > 1:
        raise wrong(field, f"names packages for {' and '.join(subdirs)[:200]} together")
    return (Locked.of(subdirs[0], packages, wheels, field),)
