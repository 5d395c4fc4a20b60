"""The plan's values of the conda world: what is asked for, what it was solved to, and the layers that this is made of.

`FromConda` moves: what it is worth depends on what the channels have. `pin` turns it into `FromLock`, which does not.
The layers are plans of their own, so that each is made once, remembered by its key, and made again after eviction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from wavelet.errors import InvalidRequest, NotServed
from wavelet.image.platform import Platform
from wavelet.plan.source import FromRegistry

PREFIX = "/opt/conda"
"""Where environments are installed in images, as in Wave's."""

LINKER = 1
"""The version of what becomes of an archive's files: other bytes need another one, for old layers stay as they are."""

IMAGE_MAKER = 2
"""The version of how an image is put together of a lock: its own layer, its configuration, the order and grouping of
layers. Whoever changes a byte of images that older versions have made counts it up. It is part of the keys of locks,
and is left out of them while it is 1."""

Layers = Literal["many", "few"]
"""A layer for each large package, which images share whatever else they have; or few, which some engines take faster.
The bytes of an image depend on it, and so do its name and its key: nodes whose settings differ give other names."""

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


@dataclass(frozen=True, slots=True)
class FromConda:
    """Packages on a base image, as asked.

    Attributes:
        specs: match specs, each as the solver reads it, sorted and unique.
        channels: names or URLs without logins, the first one having priority.
        platform: of the image.
        base: the image under the packages, for the same platform.
        pip: requirements (PEP 508), sorted and unique.
        as_of: only packages uploaded before this time, RFC 3339 in UTC (`2026-01-31T00:00:00Z`).
        locked: packages that a lock file names; they are taken as they are, and the solver adds what `specs` lacks.
        wheels: wheels that a lock file names.
        lock_location: the URL of a lock file, read when this is pinned.
        layers: how many layers the image has above its base: see `Layers`.
        renewed: whether the lock is renewed by age. It is for a name that is the request: nobody can ask to refresh it.
        leaves: of what a lock file names, that on which nothing else depends. It takes no part in keys.
    """

    specs: tuple[str, ...]
    channels: tuple[str, ...]
    platform: Platform
    base: FromRegistry
    pip: tuple[str, ...] = ()
    as_of: str | None = None
    locked: tuple[Package, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    lock_location: str = ""
    renewed: bool = False
    layers: Layers = "many"
    leaves: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class FromLock:
    """Exactly these packages and wheels on a base image.

    Attributes:
        packages: sorted; each with its sha256.
        wheels: sorted.
        platform: of the image.
        base: the image under them.
        scripts: whether post-link scripts have run; without, it is the image that they run in.
        layers: how many layers the image has above its base: see `Layers`.
    """

    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...]
    platform: Platform
    base: FromRegistry
    scripts: bool = True
    layers: Layers = "many"

    def without_scripts(self) -> FromLock:
        """Return the image that post-link scripts run in."""
        return replace(self, scripts=False)


@dataclass(frozen=True, slots=True)
class PackageLayer:
    """The layer of one package, linked for `PREFIX`.

    Attributes:
        package: with its sha256.
        python: `3.12`, the minor version that a noarch package is linked for; empty for all others.
        site_packages: where that Python looks, relative to the prefix (`lib/python3.12/site-packages`).
    """

    package: Package
    python: str = ""
    site_packages: str = ""


@dataclass(frozen=True, slots=True)
class WheelLayer:
    """The layer of one wheel, installed into the Python of `PREFIX`. Members as in `PackageLayer`."""

    wheel: Wheel
    python: str
    site_packages: str


@dataclass(frozen=True, slots=True)
class ScriptsLayer:
    """What the post-link scripts of `packages` change in an image of these and of all that they depend on.

    The one layer that is not a function of its plan: a script may do what it likes. The first one made stands.

    Attributes:
        packages: those with scripts.
        image: they and their dependencies, without their scripts having run.
    """

    packages: tuple[Package, ...]
    image: FromLock


@dataclass(frozen=True, slots=True)
class LibcOf:
    """Which C library an image has, and in which version: what packages for it may need."""

    base: FromRegistry


CondaPart = PackageLayer | WheelLayer | ScriptsLayer | LibcOf
"""What no name stands for: parts that the makers of conda images ask each other for."""
