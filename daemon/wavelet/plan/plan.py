"""The plan's values. Everything that wavelet serves is the worth of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from wavelet.image.digest import Digest
from wavelet.image.platform import Platform
from wavelet.plan.conda import CondaPart, FromConda, FromLock, LibcOf, PackageLayer, ScriptsLayer, WheelLayer
from wavelet.plan.source import FromRegistry

INLINE = "inline:"
"""The location of a layer whose bytes came with the request and lie beside its record."""


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


Base = FromRegistry | FromConda | FromLock
"""What an augmentation starts from."""


@dataclass(frozen=True, slots=True)
class WithConfig:
    """`base` with layers, environment and entry point added, and with the layers of `includes` on top."""

    base: Base
    config: ContainerConfig
    includes: tuple[FromRegistry, ...] = ()


@dataclass(frozen=True, slots=True)
class AsIndex:
    """Several platforms under one name: an index of exactly these."""

    members: tuple[tuple[Platform, Base | WithConfig], ...]


Plan = FromRegistry | FromConda | FromLock | WithConfig | AsIndex | CondaPart


def parts(plan: Plan) -> Iterator[Base]:
    """Yield every image that the plan is put together of, itself not being put together."""
    match plan:
        case FromRegistry() | FromConda() | FromLock():
            yield plan
        case WithConfig():
            yield plan.base
            yield from plan.includes
        case AsIndex():
            for _, member in plan.members:
                yield from parts(member)
        case ScriptsLayer():
            yield plan.image
        case LibcOf():
            yield plan.base
        case PackageLayer() | WheelLayer():
            return


def sources(plan: Plan) -> Iterator[FromRegistry]:
    """Yield every leaf that an upstream registry has to answer for."""
    for part in parts(plan):
        yield part if isinstance(part, FromRegistry) else part.base


def layers(plan: Plan) -> Iterator[Layer]:
    """Yield every layer that the request itself names."""
    match plan:
        case WithConfig():
            yield from plan.config.layers
        case AsIndex():
            for _, member in plan.members:
                yield from layers(member)


def without_unkept(plan: Plan) -> Plan:
    """Return the plan without layers whose bytes are in the request only: nobody can read these yet."""
    match plan:
        case WithConfig():
            kept = tuple(layer for layer in plan.config.layers if layer.location != INLINE)
            config = replace(plan.config, layers=kept)
            return replace(plan, config=config) if config or plan.includes else plan.base
        case AsIndex():
            return AsIndex(tuple((platform, without_unkept(member)) for platform, member in plan.members))  # type: ignore[misc]
    return plan


def map_sources(plan: Plan, change: Callable[[FromRegistry], FromRegistry]) -> Plan:
    """Return the plan of an image with each registry leaf replaced by what `change` makes of it."""
    return map_parts(plan, lambda part: _map_source(part, change))


def _map_source(part: Base, change: Callable[[FromRegistry], FromRegistry]) -> Base:
    return change(part) if isinstance(part, FromRegistry) else replace(part, base=change(part.base))


def map_parts(plan: Plan, change: Callable[[Base], Base]) -> Plan:
    """Return the plan of an image with each of its `parts` replaced by what `change` makes of it.

    An included image has to stay one of a registry.
    """
    match plan:
        case FromRegistry() | FromConda() | FromLock():
            return change(plan)
        case WithConfig():
            return replace(plan, base=change(plan.base), includes=tuple(map(change, plan.includes)))  # type: ignore[arg-type]
        case AsIndex():
            members = ((platform, map_parts(member, change)) for platform, member in plan.members)
            return AsIndex(tuple(members))  # type: ignore[arg-type]
        case PackageLayer() | WheelLayer() | ScriptsLayer() | LibcOf():
            return plan
