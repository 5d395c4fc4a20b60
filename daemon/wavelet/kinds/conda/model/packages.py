"""Packages and wheels as values, the C library that they need, and how what is asked of them is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from wavelet.errors import InvalidRequest, NotServed
from wavelet.image.reference import Platform
from wavelet.plan.node import AskedPackages, Label, View, source


class Libc(msgspec.Struct, frozen=True, rename={"name": "libc"}):
    """A C library: `glibc`, `musl` or, where there is none, empty; and the version (`2.36`) of a glibc."""

    name: str = ""
    version: str = ""

    def encode(self) -> bytes:
        """Return the document."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def decode(cls, data: bytes) -> Libc:
        """Read the document."""
        return msgspec.json.decode(data, type=cls)


PREFIX = "/opt/conda"
"""Where environments are installed in images, as in Wave's."""

_SUBDIRS = {Platform("linux", "amd64"): "linux-64", Platform("linux", "arm64"): "linux-aarch64"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_EXTENSIONS = (".conda", ".tar.bz2")


def subdir_of(platform: Platform) -> str:
    """Return the channel's directory for a platform (CEP 26, "subdir").

    Raises:
        NotServed: conda has packages for it, but images are not made of them here.
    """
    try:
        return _SUBDIRS[platform]
    except KeyError:
        known = ", ".join(map(str, _SUBDIRS))
        message = f"containerPlatform: images of conda packages are made for {known}, not for {platform}"
        raise NotServed(message, field="containerPlatform") from None


def platform_of(subdir: str) -> Platform | None:
    """Return the platform of a channel's directory; None where images are not made of it, or it is for all."""
    return next((platform for platform, own in _SUBDIRS.items() if own == subdir), None)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One conda package, a file of a channel.

    Attributes:
        url: `<channel>/<subdir>/<name>-<version>-<build>.conda` or `.tar.bz2`, without a login and as the channel's
            own address has it, whatever mirror it is fetched from.
        sha256: of the file, in hexadecimal; None only in what is asked.
        md5: of the file, in hexadecimal, where known.
        size: of the file in bytes, where known. It takes no part in keys.
    """

    url: str
    sha256: str | None = None
    md5: str | None = None
    size: int | None = field(default=None, compare=False)

    @classmethod
    def of(cls, url: str, sha256: str | None, md5: str | None, size: int | None, field: str = "packages") -> Package:
        """Return a package of untrusted text.

        Raises:
            InvalidRequest: it is no package's URL, or a checksum is none.
        """
        package = cls(url, sha256, md5, size)
        scheme, separator, rest = url.partition("://")
        parts = rest.split("/")
        well = separator and scheme in ("https", "http", "file") and len(parts) >= 3 and "@" not in parts[0]
        if not well or not url.endswith(_EXTENSIONS) or package.stem.count("-") < 2 or not url.isprintable():
            shown = re.sub(r"//[^/]*@", "//…@", url)[:300]
            message = f"{field}: {shown!r} is no conda package's URL, <channel>/<subdir>/<name>-<version>-<build>.conda"
            raise InvalidRequest(message, field=field)
        for what, text, pattern in (("sha256", sha256, _SHA256), ("md5", md5, _MD5)):
            if text is not None and pattern.fullmatch(text) is None:
                raise InvalidRequest(f"{field}: {text[:80]!r} is not a {what} of {package.file_name}", field=field)
        return package

    @property
    def file_name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The file's name without its extension, `<name>-<version>-<build>`."""
        name = self.file_name
        return name.removesuffix(".conda") if name.endswith(".conda") else name.removesuffix(".tar.bz2")

    @property
    def name(self) -> str:
        """The package's name."""
        return self.stem.rsplit("-", 2)[0]

    @property
    def version(self) -> str:
        """Its version."""
        return self.stem.rsplit("-", 2)[1]

    @property
    def build(self) -> str:
        """Its build string."""
        return self.stem.rsplit("-", 2)[2]

    @property
    def subdir(self) -> str:
        """The channel's directory that it is in, `linux-64` or `noarch`."""
        return self.url.rsplit("/", 2)[1]

    @property
    def channel(self) -> str:
        """The channel's URL, without a slash at its end."""
        return self.url.rsplit("/", 2)[0]

    def write(self, view: View) -> dict[str, Any]:
        """Return it as JSON. One hash says which file it is; what a lock says besides makes no other lock of it."""
        md5 = self.md5 if view is View.RECORD or self.sha256 is None else None
        members = {"url": self.url, "sha256": self.sha256, "md5": md5}
        return filled(members | ({"size": self.size} if view is View.RECORD else {}))

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Package:
        """Read what `write` returned for a record."""
        return cls(value["url"], value.get("sha256"), value.get("md5"), value.get("size"))


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """One Python wheel: its URL without a login, sha256 in hexadecimal, size in bytes where known (no part of keys)."""

    url: str
    sha256: str
    size: int | None = field(default=None, compare=False)

    @property
    def file_name(self) -> str:
        """`<name>-<version>(-<build>)-<python>-<abi>-<platform>.whl` (binary distribution format specification)."""
        return self.url.rpartition("/")[2]

    @property
    def name(self) -> str:
        """The distribution's name, as the file has it."""
        return self.file_name.split("-")[0]

    @property
    def version(self) -> str:
        """Its version."""
        return self.file_name.split("-")[1]

    def write(self, view: View) -> dict[str, Any]:
        """Return it as JSON."""
        size = {"size": self.size} if view is View.RECORD else {}
        return filled({"url": self.url, "sha256": self.sha256} | size)

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Wheel:
        """Read what `write` returned for a record."""
        return cls(value["url"], value["sha256"], value.get("size"))


def filled(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not empty."""
    return {name: value for name, value in members.items() if value}


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
        tuple(_named(asked)),
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
