"""The packages of one request as they are asked for; whatever the way, they become one `CondaEnvironment`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavelet.image.reference import DEFAULT_PLATFORM, Platform, Reference
from wavelet.kinds.conda.locks.locked import Locked
from wavelet.kinds.conda.model.environment_text import Environment
from wavelet.kinds.conda.model.node import CondaEnvironment, Layers
from wavelet.kinds.conda.model.specs import name_of, normal_channel, normal_spec
from wavelet.kinds.registry_image.node import RegistryImage

PIP = "pip"
"""The package that is added where pip's requirements are asked for and none of this name is."""


@dataclass(frozen=True, slots=True)
class CondaDefaults:
    """What a site gives to requests that do not say it.

    Attributes:
        base_image: the image under the packages.
        base_packages: specs that are added, in normal form.
        channels: the first one having priority.
        platform: of this machine, for names that do not say one.
        layers: how many layers images have.
    """

    base_image: Reference
    base_packages: tuple[str, ...]
    channels: tuple[str, ...]
    platform: Platform = DEFAULT_PLATFORM
    layers: Layers = "many"

    @classmethod
    def of(
        cls,
        base_image: str,
        base_packages: tuple[str, ...],
        channels: tuple[str, ...],
        *,
        platform: Platform,
        layers: Layers = "many",
    ) -> CondaDefaults:
        """Return a site's settings as values.

        Raises:
            InvalidName: the base image is none.
            InvalidRequest: a spec or channel is none.
        """
        return cls(
            Reference.parse(base_image, "conda.base_image"),
            tuple(normal_spec(text, "conda.base_packages") for text in base_packages),
            tuple(dict.fromkeys(normal_channel(text, "conda.channels") for text in channels)),
            platform,
            layers,
        )


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """What one request says of packages.

    Attributes:
        environment: specs, requirements, and what a lock names.
        field: the request's member that has them, for errors.
        channels: those of the request, behind the environment's own.
        base: the image under the packages; None for the site's.
        base_packages: specs that are added; None for the site's.
        lock_location: the URL of a lock file.
        as_of: only packages uploaded before this time.
        renewed: whether the lock is renewed by age.
    """

    environment: Environment
    field: str
    channels: tuple[str, ...] = ()
    base: Reference | None = None
    base_packages: tuple[str, ...] | None = None
    lock_location: str = ""
    as_of: str | None = None
    renewed: bool = False

    def plan(self, platform: Platform, site: CondaDefaults) -> CondaEnvironment:
        """Return the plan for a platform.

        Raises:
            InvalidRequest: a lock names nothing for the platform.
            NotServed: no images of conda packages are made for it.
        """
        locked = self.environment.locked_for(platform, self.field)
        base = self.base or site.base_image
        if base.digest is not None:
            base = base.at(base.digest)
        added = site.base_packages if self.base_packages is None else self.base_packages
        plan = CondaEnvironment(
            specs=added,
            channels=self.channels,
            platform=platform,
            base=RegistryImage(base, platform),
            as_of=self.as_of,
            lock_location=self.lock_location,
            renewed=self.renewed,
            layers=site.layers,
        )
        return _with(plan, self.environment, locked, site)


def _with(plan: CondaEnvironment, environment: Environment, locked: Locked, site: CondaDefaults) -> CondaEnvironment:
    """Return the plan, which has the specs that are added, with an environment's own."""
    named = {name_of(spec) for spec in environment.specs} | {package.name for package in locked.packages}
    specs = {spec for spec in plan.specs if name_of(spec) not in named} | set(environment.specs)
    if environment.pip and PIP not in named:
        specs.add(PIP)
    channels = tuple(dict.fromkeys((*environment.channels, *plan.channels)))
    return replace(
        plan,
        specs=tuple(sorted(specs)),
        channels=channels or site.channels,
        pip=environment.pip,
        locked=locked.packages,
        wheels=locked.wheels,
        leaves=locked.leaves,
    )
