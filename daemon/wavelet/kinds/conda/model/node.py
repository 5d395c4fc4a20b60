"""Nodes of the conda world: environments as asked and as locked, and the layers that they are made of.

`CondaEnvironment` moves: what it stands for depends on what the channels have. It is pinned to a `LockedEnvironment`,
which does not move.

Each layer is a node of its own, made once, remembered by its key, and made again after eviction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from wavelet.image.reference import Digest, Platform
from wavelet.kinds.conda.model import packages
from wavelet.kinds.conda.model.explicit_list import explicit
from wavelet.kinds.conda.model.packages import Package, Wheel, filled, subdir_of
from wavelet.plan.node import Description, Label, Node, View, written

LINKER = 1
"""The version of what becomes of an archive's files: other bytes need another one, for old layers stay as they are."""

IMAGE_MAKER = 2
"""The version of how an image is put together of a lock: its own layer, its configuration, the order and grouping of
layers. Whoever changes a byte of images that older versions have made counts it up. It is part of the keys of locks,
and is left out of them while it is 1."""

Layers = Literal["many", "few"]
"""A layer for each large package, which images share whatever else they have; or few, which some engines take faster.
The bytes of an image depend on it, and so do its name and its key: nodes whose settings differ give other names."""


@dataclass(frozen=True, slots=True)
class CondaEnvironment(Node):
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

    tag = "conda"
    has_packages = True

    specs: tuple[str, ...]
    channels: tuple[str, ...]
    platform: Platform
    base: Node
    pip: tuple[str, ...] = ()
    as_of: str | None = None
    locked: tuple[Package, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    lock_location: str = ""
    renewed: bool = False
    layers: Layers = "many"
    leaves: tuple[str, ...] = field(default=(), compare=False)

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.base,)

    def with_children(self, children: Sequence[Node]) -> CondaEnvironment:
        """See `Node`."""
        (base,) = children
        return replace(self, base=base)

    @property
    def moves(self) -> bool:
        """See `Node`."""
        return True

    @property
    def label(self) -> Label:
        """See `Node`."""
        return packages.label(self)

    @property
    def description(self) -> Description:
        """See `Node`."""
        return Description(title=self.label.text, packages=packages.description(self), platforms=(self.platform,))

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`. The leaves are for records alone: they make no other plan."""
        members = {
            "specs": list(self.specs),
            "channels": list(self.channels),
            "platform": str(self.platform),
            "base": written(self.base, view),
            "pip": list(self.pip),
            "asOf": self.as_of,
            "locked": [package.write(view) for package in self.locked],
            "wheels": [wheel.write(view) for wheel in self.wheels],
            "lockLocation": self.lock_location,
            "renewed": self.renewed,
            **_layers(self.layers),
            "leaves": list(self.leaves) if view is View.RECORD else [],
        }
        return {"conda": filled(members)}

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        asked = value["conda"]
        return cls(
            specs=tuple(asked.get("specs", ())),
            channels=tuple(asked.get("channels", ())),
            platform=Platform.from_text(asked["platform"]),
            base=read(asked["base"]),
            pip=tuple(asked.get("pip", ())),
            as_of=asked.get("asOf"),
            locked=tuple(map(Package.read, asked.get("locked", ()))),
            wheels=tuple(map(Wheel.read, asked.get("wheels", ()))),
            lock_location=asked.get("lockLocation", ""),
            renewed=asked.get("renewed", False),
            layers=_read_layers(asked),
            leaves=tuple(asked.get("leaves", ())),
        )


@dataclass(frozen=True, slots=True)
class LockedEnvironment(Node):
    """Exactly these packages and wheels on a base image.

    Attributes:
        packages: sorted; each with its sha256.
        wheels: sorted.
        platform: of the image.
        base: the image under them.
        scripts: whether post-link scripts have run; without, it is the image that they run in.
        layers: how many layers the image has above its base: see `Layers`.
    """

    tag = "lock"
    has_packages = True
    image_maker = IMAGE_MAKER
    maker = f"{IMAGE_MAKER}.{LINKER}"

    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...]
    platform: Platform
    base: Node
    scripts: bool = True
    layers: Layers = "many"

    def without_scripts(self) -> LockedEnvironment:
        """Return the image that post-link scripts run in."""
        return replace(self, scripts=False)

    @property
    def children(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.base,)

    def with_children(self, children: Sequence[Node]) -> LockedEnvironment:
        """See `Node`."""
        (base,) = children
        return replace(self, base=base)

    @property
    def explicit(self) -> str:
        """The packages and wheels as a file that conda, micromamba and this daemon install from."""
        return explicit(self.packages, subdir_of(self.platform), self.wheels)

    @property
    def lock_digest(self) -> Digest:
        """See `Node`: of the list that is attached to the image."""
        return Digest.of(self.explicit.encode())

    @property
    def label(self) -> Label:
        """See `Node`."""
        return packages.LOCKED

    @property
    def description(self) -> Description:
        """See `Node`."""
        return Description(title=self.label.text, platforms=(self.platform,))

    def write(self, view: View) -> dict[str, Any]:
        """See `Node`."""
        maker = {"maker": self.image_maker} if view is View.KEY and self.image_maker > 1 else {}
        return {"lock": self.members(view) | maker}

    def members(self, view: View) -> dict[str, Any]:
        """Return the packages and what they are on as JSON, however these are put together."""
        members = {
            "packages": [package.write(view) for package in self.packages],
            "wheels": [wheel.write(view) for wheel in self.wheels],
            "platform": str(self.platform),
            "base": written(self.base, view),
            "withoutScripts": not self.scripts,
            **_layers(self.layers),
        }
        return filled(members)

    @classmethod
    def read(cls, value: Mapping[str, Any], read: Callable[[Any], Node]) -> Self:
        """See `Node`."""
        lock = value["lock"]
        return cls(
            tuple(map(Package.read, lock.get("packages", ()))),
            tuple(map(Wheel.read, lock.get("wheels", ()))),
            Platform.from_text(lock["platform"]),
            read(lock["base"]),
            not lock.get("withoutScripts", False),
            _read_layers(lock),
        )


def _layers(layers: Layers) -> dict[str, Any]:
    return {} if layers == "many" else {"layers": layers}


def _read_layers(value: Mapping[str, Any]) -> Layers:
    match value.get("layers", "many"):
        case "many":
            return "many"
        case "few":
            return "few"
        case other:
            raise ValueError(f"no images have {other!r} layers")


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
