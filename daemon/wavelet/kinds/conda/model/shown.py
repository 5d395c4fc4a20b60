"""The label of an image of packages, and the words that show what was asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wavelet.kinds.conda.model.packages import Package
from wavelet.plan.description import AskedPackages
from wavelet.plan.label import Label
from wavelet.plan.tree import source

if TYPE_CHECKING:
    from wavelet.kinds.conda.model.node import CondaEnvironment

_NAMES_SHOWN = 4
"""Packages that the name of an environment shows; further ones are in the token alone."""

_SPEC = re.compile(r"(?:.*::)?(?P<name>[A-Za-z0-9._-]+)(?:\s*==?\s*(?P<version>[A-Za-z0-9._!+]+)(?:=.*)?)?")
_EXTENSION = re.compile(r"(?:\.(?:lock|ya?ml|txt|json|toml))+$")
_BASE_PACKAGES = frozenset({"pip", "procps-ng", "which"})
"""What Wave, Nextflow and wavelet itself add to environments."""

LOCKED = Label("conda/environment", "latest")
"""The label of an environment of which only the packages are known, and not what was asked for."""


def label(asked: CondaEnvironment) -> Label:
    """Return what an image is called: after what was asked for by name; else a lock's file, or what it is about."""
    named, before = _named(asked), _named_before(asked)
    return Label(_path(named), _tag(named), ((_path(before), _tag(before)),))


def description(asked: CondaEnvironment) -> AskedPackages:
    """Return what was asked for in words. The query of a location may hold a signature: it is left out."""
    specs: tuple[str, ...] = () if asked.pip or asked.locked else asked.specs
    location = (asked.lock_location.partition("?")[0],) if asked.lock_location else ()
    return AskedPackages(
        asked.channels,
        location if location and not (asked.pip or asked.locked) else specs,
        _environment_file(asked),
        source(asked.base).description.title,
        asked.as_of or "",
    )


def _environment_file(asked: CondaEnvironment) -> str:
    lines = ["channels:", *(f"- {channel}" for channel in asked.channels), "dependencies:"]
    lines += [f"- {spec}" for spec in asked.specs]
    lines += [f"- {package.url}{_checksum(package)}" for package in asked.locked]
    lines += [f"- {asked.lock_location.partition('?')[0]}"] if asked.lock_location else []
    pip = [*asked.pip, *(f"{wheel.name} @ {wheel.url}#sha256={wheel.sha256}" for wheel in asked.wheels)]
    lines += ["- pip:", *(f"  - {requirement}" for requirement in pip)] if pip else []
    lines += [f"# as of {asked.as_of}"] if asked.as_of else []
    return "\n".join([*lines, f"# on {source(asked.base).description.title}", ""])


def _checksum(package: Package) -> str:
    return f"#sha256:{package.sha256}" if package.sha256 else f"#{package.md5}" if package.md5 else ""


_Named = list[tuple[str, str | None]]
"""Names and versions of packages."""


def _path(named: _Named) -> str:
    names = [_component(name) for name, _ in named] or ["environment"]
    return "conda/" + "_".join(names[:_NAMES_SHOWN])


def _tag(named: _Named) -> str:
    version = named[0][1] if len(named) == 1 else None
    return "latest" if version is None else re.sub(r"[^A-Za-z0-9._-]", "_", version)[:128]


def _named(part: CondaEnvironment) -> _Named:
    specs = _matched(part.specs)
    asked = [(name, version) for name, version in specs if name not in _BASE_PACKAGES] + _matched(part.pip)
    if asked:
        return asked
    if part.lock_location:
        return [(_file_of(part.lock_location), None)]
    if part.locked or part.wheels:
        return _of_lock(part)
    return specs


def _of_lock(part: CondaEnvironment) -> _Named:
    versions: dict[str, str | None] = {package.name: package.version for package in part.locked}
    if part.wheels and not part.leaves:
        return [(wheel.name, wheel.version) for wheel in part.wheels]
    return [(name, versions.get(name)) for name in part.leaves if name not in _BASE_PACKAGES]


def _file_of(location: str) -> str:
    """Return the name of a lock's file, without what says of which kind it is; else the host that it is at."""
    parts = urlsplit(location)
    return _EXTENSION.sub("", parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc


def _named_before(part: CondaEnvironment) -> _Named:
    """Return what packages were called after before locks and requirements for pip counted."""
    specs = _matched(part.specs)
    return [(name, version) for name, version in specs if name not in _BASE_PACKAGES] or specs


def _matched(texts: tuple[str, ...]) -> _Named:
    found = [match for match in map(_SPEC.match, texts) if match is not None]
    return [(match["name"], match["version"]) for match in found]


def _component(name: str) -> str:
    """Return a package's name as a part of a repository's (distribution-spec, "Pulling manifests")."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "package"
