"""The files that environments are made of: packages of channels, and Python wheels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wavelet.errors import InvalidRequest, NotServed
from wavelet.image.platform import Platform
from wavelet.plan.view import View

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
