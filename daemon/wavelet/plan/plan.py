"""The plan's values. Everything that wavelet serves is the worth of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from wavelet.image.digest import Digest
from wavelet.image.platform import Platform
from wavelet.image.reference import Reference

INLINE = "inline:"
"""The location of a layer whose bytes came with the request and lie beside its record."""


@dataclass(frozen=True, slots=True)
class FromRegistry:
    """An image that some registry has. Without a platform: whatever the reference names, an index as it is."""

    reference: Reference
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a request adds.

    Attributes:
        digest: of the compressed blob, `gzipDigest`.
        size: of the compressed blob in bytes, where the request says it.
        diff_id: digest of the tar, `tarDigest`.
        location: where its bytes are (`http(s)://…` or `inline:`). It takes no part in names.
        architecture: the only one that the layer is for, if there is such (Fusion's launchers).
    """

    digest: Digest
    size: int | None
    diff_id: Digest
    location: str
    architecture: str | None = None


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What an augmentation sets; empty members leave the image's own."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    layers: tuple[Layer, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether it changes anything: all members null or empty counts as no configuration at all."""
        return self != _NOTHING


_NOTHING = ContainerConfig()


@dataclass(frozen=True, slots=True)
class WithConfig:
    """`base` with layers, environment and entry point added, and with the layers of `includes` on top."""

    base: FromRegistry
    config: ContainerConfig
    includes: tuple[FromRegistry, ...] = ()


@dataclass(frozen=True, slots=True)
class AsIndex:
    """Several platforms under one name: an index of exactly these."""

    members: tuple[tuple[Platform, FromRegistry | WithConfig], ...]


Plan = FromRegistry | WithConfig | AsIndex


def sources(plan: Plan) -> Iterator[FromRegistry]:
    """Yield every leaf that an upstream registry has to answer for."""
    match plan:
        case FromRegistry():
            yield plan
        case WithConfig():
            yield plan.base
            yield from plan.includes
        case AsIndex():
            for _, member in plan.members:
                yield from sources(member)


def layers(plan: Plan) -> Iterator[Layer]:
    """Yield every layer that the request itself names."""
    match plan:
        case FromRegistry():
            return
        case WithConfig():
            yield from plan.config.layers
        case AsIndex():
            for _, member in plan.members:
                yield from layers(member)


def map_sources(plan: Plan, change: Callable[[FromRegistry], FromRegistry]) -> Plan:
    """Return the plan with each registry leaf replaced by what `change` makes of it."""
    match plan:
        case FromRegistry():
            return change(plan)
        case WithConfig():
            return replace(plan, base=change(plan.base), includes=tuple(map(change, plan.includes)))
        case AsIndex():
            return AsIndex(tuple((platform, map_sources(member, change)) for platform, member in plan.members))  # type: ignore[misc]
