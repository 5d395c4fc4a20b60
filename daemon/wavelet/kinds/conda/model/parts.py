"""The parts that makers of conda images ask each other for, as nodes; no name stands for them.

Each is made once, remembered by its key, and made again after eviction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from wavelet.kinds.conda.model.node import LINKER, LockedEnvironment
from wavelet.kinds.conda.model.packages import Package, Wheel, filled
from wavelet.plan.node import Node, written
from wavelet.plan.view import View


@dataclass(frozen=True, slots=True)
class PackageLayer(Node):
    """The layer of one package, linked for `PREFIX`.

    Attributes:
        package: with its sha256.
        python: `3.12`, the minor version that a noarch package is linked for; empty for all others.
        site_packages: where that Python looks, relative to the prefix (`lib/python3.12/site-packages`).
    """

    tag = "package"
    is_composite = True

    package: Package
    python: str = ""
    site_packages: str = ""

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        made_by = {"python": self.python, "sitePackages": self.site_packages, "linker": LINKER}
        return {"package": self.package.write(view) | filled(made_by)}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        package = value["package"]
        return cls(Package.read(package), package.get("python", ""), package.get("sitePackages", ""))


@dataclass(frozen=True, slots=True)
class WheelLayer(Node):
    """The layer of one wheel, installed into the Python of `PREFIX`. Members as in `PackageLayer`."""

    tag = "wheel"
    is_composite = True

    wheel: Wheel
    python: str
    site_packages: str

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        made_by = {"python": self.python, "sitePackages": self.site_packages, "linker": LINKER}
        return {"wheel": self.wheel.write(view) | made_by}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        wheel = value["wheel"]
        return cls(Wheel.read(wheel), wheel["python"], wheel["sitePackages"])


@dataclass(frozen=True, slots=True)
class ScriptsLayer(Node):
    """What the post-link scripts of `packages` change in an image of these and of all that they depend on.

    The one layer that is not a function of its plan: a script may do what it likes. The first one made stands.

    Attributes:
        packages: those with scripts.
        image: they and their dependencies, without their scripts having run.
    """

    tag = "scripts"
    is_composite = True

    packages: tuple[Package, ...]
    image: LockedEnvironment

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.image,)

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`.

        What scripts run in is their packages and base, however these are put together: a layer stays claimed. So the
        version of what makes the image takes no part.
        """
        return {
            "scripts": [package.write(view) for package in self.packages],
            "image": {"lock": self.image.members(view)},
        }

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        return cls(tuple(map(Package.read, value["scripts"])), LockedEnvironment.read(value["image"], read))


@dataclass(frozen=True, slots=True)
class LibcOf(Node):
    """Which C library an image has, and in which version: what packages for it may need."""

    tag = "libc"
    is_composite = True

    base: Node

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.base,)

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        return {"libc": written(self.base, view)}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        return cls(read(value["libc"]))
