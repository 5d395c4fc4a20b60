"""The environment of an image as a node: as asked for, and as it was solved to.

`CondaEnvironment` moves: what it stands for depends on what the channels have. It is pinned to a `LockedEnvironment`,
which does not move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from wavelet.image.platform import Platform
from wavelet.kinds.conda.model import shown
from wavelet.kinds.conda.model.packages import Package, Wheel, filled
from wavelet.plan.description import Description
from wavelet.plan.label import Label
from wavelet.plan.node import Node, written
from wavelet.plan.view import View

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
        return shown.label(self)

    @property
    def description(self) -> Description:
        """See `Node`."""
        return Description(title=self.label.text, packages=shown.description(self), platforms=(self.platform,))

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
    def label(self) -> Label:
        """See `Node`."""
        return shown.LOCKED

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
