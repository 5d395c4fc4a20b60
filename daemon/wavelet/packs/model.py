"""The pack, built: what it adds to an image, and what an engine has to be given for it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from wavelet.errors import CallerError, OurError
from wavelet.plan.node import PACK, ContainerConfig, Layer

LOCATION = PACK
"""What the location of a layer of a pack begins with."""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""Names and versions of packs: they stand in URLs and in image names' annotations."""


class PackRefused(CallerError):
    """A pack that was asked for cannot be used: there is none such, it is broken, or it and another one collide."""

    reason = "PACK_REFUSED"


class PackPending(OurError):
    """A pack may be there, but is not built yet: whoever can wait, waits for `pack` and asks again."""

    reason = "PACK_PENDING"
    status = 503

    def __init__(self, pack: str) -> None:
        super().__init__(f"the pack {pack[:80]} is still being built; ask again")
        self.pack = pack


@dataclass(frozen=True, slots=True)
class PackLayer:
    """A layer of a pack.

    Attributes:
        layer: as plans have it; its location begins with `PACK`, its architecture is None where it is for all.
        paths: what it puts into the image, without directories, relative to the root: no other pack may have them too.
    """

    layer: Layer
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an engine has to give a container for a pack: devices (`/dev/fuse`) and capabilities (`SYS_ADMIN`)."""

    devices: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as it was built.

    Attributes:
        name, version: together they are `reference`, `<name>@<version>`.
        entrypoint: replaces the image's own, which is handed to it as WAVE_ENTRY_CHAIN; empty: the image's own stays.
        env: `NAME=VALUE` each.
        layers: in their order, the lowest first.
        architectures: for which it is (`amd64`, `arm64`); empty: for all.
        needs: see `Needs`.
    """

    name: str
    version: str
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    layers: tuple[PackLayer, ...] = ()
    architectures: frozenset[str] = frozenset()
    needs: Needs = Needs()

    @property
    def reference(self) -> str:
        """Name and version."""
        return f"{self.name}@{self.version}"

    @property
    def config(self) -> ContainerConfig:
        """What it adds to an image."""
        return ContainerConfig(self.entrypoint, (), self.env, "", tuple(each.layer for each in self.layers))

    def is_for(self, architecture: str) -> bool:
        """Tell whether there is something in it for an architecture."""
        return not self.architectures or architecture in self.architectures


@dataclass(frozen=True, slots=True)
class PackUse:
    """A pack that is added.

    Attributes:
        version: None: the newest one.
        missing: what is done where the pack has nothing for the image's architecture: it is refused, or left out.
    """

    name: str
    version: str | None = None
    missing: Literal["refuse", "skip"] = "refuse"

    @property
    def text(self) -> str:
        """As it is written: `<name>` or `<name>@<version>`."""
        return self.name if self.version is None else f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str, field: str, missing: Literal["refuse", "skip"] = "refuse") -> Self:
        """Read `<name>` or `<name>@<version>`.

        Raises:
            PackRefused: it is neither.
        """
        name, at, version = text.partition("@")
        if NAME.fullmatch(name) is None or (at and NAME.fullmatch(version) is None):
            raise PackRefused(f"{field}: {text[:100]!r} is no pack; it takes NAME or NAME@VERSION", field=field)
        return cls(name, version if at else None, missing)


class Packs(Protocol):
    """The packs of this node, as they are known now."""

    def get(self, name: str, version: str | None = None) -> Pack:
        """Return a pack; without a version the newest one that was built.

        Raises:
            PackPending: that is not known yet.
            PackRefused: there is none such, or none could be built of it, and why.
        """
